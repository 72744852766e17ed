"""Data sets of all kinds: arrays and streams, and those that are refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.losses import ModelMetric
from fabricfit.network.ends import read_ends
from fabricfit.samples import Data, Door, Stream, open_data
from fabricfit.training import check_against_model, make_engine
from tests.common import blobs, mlp, weights_of

pytestmark = pytest.mark.keras


LOSS = "sparse_categorical_crossentropy"


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 1), index), np.full(2, index)


def test_data_sets_of_all_kinds_are_opened():
    X, y = blobs(10)
    for dataset in ((X, y), [X, y], Data(X, y), [(X[:4], y[:4]), (X[4:], y[4:])]):
        found = open_data(dataset, "train")
        np.testing.assert_array_equal(found.X, X)
        np.testing.assert_array_equal(found.y.labels[0], y)
    # A tuple is a pair, also where the model has two inputs and two outputs.
    pair = open_data(([X, X + 1], [y, y]), "train")
    np.testing.assert_array_equal(pair.X[1], X + 1)
    np.testing.assert_array_equal(pair.y.labels[1], y)
    generator = ((X[i : i + 5], y[i : i + 5]) for i in (0, 5))  # runs but once: read into memory
    np.testing.assert_array_equal(open_data(generator, "train").X, X)
    assert isinstance(open_data(Batches(), "val"), Stream)
    assert isinstance(open_data(lambda: iter([(X, y)]), "val"), Stream)
    with pytest.raises(InvalidTypeError, match="the train data set must be a pair"):
        open_data(3, "train")


@pytest.mark.parametrize(
    "dataset, message",
    [
        ([(np.ones((2, 6)), np.ones(2), np.ones(2), np.ones(2))], "at least one pair"),
        ((np.ones((2, 6)), np.ones(2), np.ones(2), np.ones(2)), "at least one pair"),
        ([], "at least one pair"),
        ((batch for batch in ()), "at least one pair"),
        ([np.ones((2, 6))], "at least one pair"),
    ],
)
def test_data_sets_that_are_no_pairs_are_refused(dataset, message):
    with pytest.raises(InvalidInputError, match=message):
        open_data(dataset, "train")


def streams(X, y, batch):
    """The same samples from sources of all kinds."""

    class Source(keras.utils.PyDataset):
        def __len__(self):
            return -(-len(X) // batch)

        def __getitem__(self, index):
            part = slice(index * batch, (index + 1) * batch)
            return X[part], y[part]

    starts = range(0, len(X), batch)
    found = [Source(), lambda: ((X[i : i + batch], y[i : i + batch]) for i in starts)]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found.append(tf.data.Dataset.from_tensor_slices((X, y)).batch(batch))
    if keras.backend.backend() == "torch":
        import torch

        pairs = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
        found.append(torch.utils.data.DataLoader(pairs, batch_size=batch))
    return found


def test_streams_train_and_are_evaluated_as_arrays_are():
    X, y = blobs(100)
    results = []
    held = Data(X, y, resident_limit=10)  # too large for the device
    assert not held.resident and Data(X, y).resident
    for dataset in (
        Data(X, y),
        held,
        *(open_data(source, "train") for source in streams(X, y, 32)),
    ):
        engine = make_engine(mlp(), LOSS, "adam")
        metric = ModelMetric("accuracy")
        order = np.arange(100) if isinstance(dataset, Data) else dataset.order(None)
        losses = [engine.train_epoch(dataset, order, 32) for _ in range(2)]
        assert len(dataset.head(50)) == 50
        results.append((losses, engine.evaluate(dataset, metric), weights_of(engine.model)))
    losses, metric, weights = results[0]
    for others in results[1:]:
        np.testing.assert_allclose(others[0], losses, rtol=1e-5)
        assert others[1] == pytest.approx(metric, rel=1e-6)
        for a, b in zip(weights, others[2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_stream_without_an_end_is_refused():
    class Endless(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return X4, np.zeros(4)

    endless = [Endless()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        endless.append(tf.data.Dataset.from_tensor_slices((X4, np.zeros(4))).batch(2).repeat())
    for dataset in endless:
        with pytest.raises(InvalidInputError, match="the val data set must end"):
            open_data(dataset, "val")


X4 = np.ones((4, 6), "float32")


@pytest.mark.parametrize(
    "X, y, message",
    [
        (np.zeros((0, 6)), np.zeros(0), "X_train must hold at least one sample"),
        (X4, np.zeros(3), r"equally many samples. Received: \[3, 4\]"),
        (np.full((4, 6), np.nan), np.zeros(4), "X_train must not hold NaN"),
        (X4, np.full(4, np.inf), "y_train must not hold NaN"),
        (np.full((4, 6), "a"), np.zeros(4), "X_train must hold numbers"),
        (np.float32(3), np.zeros(1), "X_train must hold at least one sample"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(X, y, message):
    with pytest.raises(FabricFitError, match=message):
        Data(X, y)


@pytest.mark.parametrize(
    "X, y, loss, message",
    [
        (np.ones((4, 5)), np.zeros(4, int), LOSS, r"\[\(6,\)\]. Received: \[\(5,\)\]"),
        (X4, np.full(4, 3), LOSS, "class labels from 0 to 2"),
        (X4, np.full(4, -1), LOSS, "class labels from 0 to 2"),
        (X4, np.zeros((4, 7)), "categorical_crossentropy", "the loss cannot be computed"),
    ],
)
def test_data_that_do_not_suit_the_model_are_refused(X, y, loss, message):
    with pytest.raises(InvalidInputError, match=message):
        check_against_model(make_engine(mlp(), loss, "sgd"), Data(X, y))


def weighted_streams(X, y, w, batch):
    """The same weighted samples from sources of all kinds."""
    starts = range(0, len(X), batch)
    found = [lambda: ((X[i : i + batch], y[i : i + batch], w[i : i + batch]) for i in starts)]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found.append(tf.data.Dataset.from_tensor_slices((X, y, w)).batch(batch))
    if keras.backend.backend() == "torch":
        import torch

        parts = torch.utils.data.TensorDataset(*map(torch.from_numpy, (X, y, w)))
        found.append(torch.utils.data.DataLoader(parts, batch_size=batch))
    return found


@pytest.mark.parametrize("class_weight", [None, {0: 3.0, 2: 0.25}])
def test_weights_of_streams_count_as_those_of_arrays(class_weight):
    X, y = blobs(100)
    w = np.random.default_rng(0).random(100).astype("float32")
    model = mlp()
    door = Door(read_ends(model), class_weight=class_weight)
    losses = []
    for source in ((X, y, w), *weighted_streams(X, y, w, 32), (X, y)):
        engine = make_engine(mlp(), LOSS, "adam")
        data = open_data(source, "train", door)
        order = np.arange(100) if isinstance(data, Data) else None
        losses.append([engine.train_epoch(data, order, 32) for _ in range(2)])
    for other in losses[1:-1]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-5)
    assert not np.allclose(losses[-1], losses[0], rtol=1e-2)


def test_a_function_that_never_ends_is_refused():
    import itertools

    pair = (np.ones((4, 2), "float32"), np.ones(4))
    endless = open_data(lambda: itertools.repeat(pair), "train")
    with pytest.raises(InvalidInputError, match="iterator that ends"):
        next(iter(endless.batches(2)))
