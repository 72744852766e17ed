"""One contract for the engines of all backends, with Keras' own ``fit`` as the oracle."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.layers.regularizers import DenseRegularizer
from fabricfit.network.cloning import copy_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.training import (
    Data,
    Penalty,
    Stream,
    TrainingDivergedError,
    check_against_model,
    fresh_metric,
    fresh_optimizer,
    is_builtin,
    make_engine,
    mean_loss,
    open_data,
    train,
)
from tests.common import L, blobs, kernel_of, mlp, outputs_of, weights_of

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"


def optimizable(model, structure="pattern", **settings):
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        if layer.weight_shape:
            layer.optimizable = True
            layer.optimization_attributes = OptimizationAttributes(
                structure, **{"pruning": True, "pattern_offset": 6, **settings}
            )
    return attributes


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.001),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 10)),
    "clipped by value": lambda: keras.optimizers.Adam(0.001, clipvalue=0.01),
    "clipped in all": lambda: keras.optimizers.Adam(0.001, global_clipnorm=0.1),
    "clipped one by one": lambda: keras.optimizers.Adam(0.001, clipnorm=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.001),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.001),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.001),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "lamb": lambda: keras.optimizers.Lamb(0.001),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_epoch_is_that_of_keras_fit(optimizer):
    make, optimizer = OPTIMIZERS[optimizer], OPTIMIZERS[optimizer]()
    X, y = blobs(100)
    model = mlp()
    model.layers[0].kernel.regularizer = DenseRegularizer(0.01, norm=2, structure_type="structured")
    reference = copy_model(model)
    reference.layers[0].kernel.regularizer = model.layers[0].kernel.regularizer
    engine = make_engine(model, LOSS, optimizer)
    losses = [engine.train_epoch(Data(X, y), np.arange(100), 32) for _ in range(3)]
    reference.compile(make(), LOSS)
    history = reference.fit(X, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(losses, history.history["loss"], rtol=2e-4)
    for ours, theirs in zip(weights_of(model), weights_of(reference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-5)


def test_constraints_hold_as_in_keras_fit():
    X, y = blobs(96)
    results = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((6,)), L.Dense(8, kernel_constraint="unit_norm"), L.Dense(3, "softmax")]
        )
        results.append(model)
    make_engine(results[0], LOSS, "adam").train_epoch(Data(X, y), np.arange(96), 32)
    results[1].compile("adam", LOSS)
    results[1].fit(X, y, batch_size=32, shuffle=False, verbose=0)
    for ours, theirs in zip(*map(weights_of, results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-6)


def test_normalization_statistics_and_dropout_train_too():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8), L.BatchNormalization(), L.Dropout(0.5), L.Dense(3)]
    )
    X, y = blobs(128)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before = weights_of(model)
    make_engine(model, loss, "adam").train_epoch(Data(X, y), np.arange(128), 32)
    moved = {
        variable.path: not np.array_equal(old, new)
        for variable, old, new in zip(model.variables, before, weights_of(model), strict=True)
    }
    # Without a seed of its own, Keras' Dropout does not use its generator on PyTorch.
    assert all(did for path, did in moved.items() if "seed" not in path), moved


def test_training_is_random_by_its_seed_alone():
    X, y = blobs(128)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keras.utils.set_random_seed(0)
    original = keras.Sequential([keras.Input((6,)), L.Dense(8), L.Dropout(0.5), L.Dense(3)])
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(len(results))  # what else is random must not matter
        model = copy_model(original, seed)
        engine = make_engine(model, loss, "adam", {}, seed)
        engine.train_epoch(Data(X, y), np.arange(128), 32)
        results.append(kernel_of(model, model.layers[0].name))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("kind", ["area", "own", "in arrays"])
def test_metrics_of_any_kind_are_counted(kind):
    X, y = blobs(300)
    y = (y > 0).astype("float32")[:, None]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), L.Dense(1, activation="sigmoid")])

    def in_arrays(target, output):  # cannot be compiled
        found = keras.ops.convert_to_numpy(output)
        return np.mean(np.abs(np.asarray(keras.ops.convert_to_numpy(target)) - found))

    def own(target, output):
        return keras.ops.mean(keras.ops.abs(target - output), axis=-1)

    metric = {
        "area": lambda: keras.metrics.AUC(num_thresholds=20),
        "own": lambda: fresh_metric(own),
        "in arrays": lambda: fresh_metric(in_arrays),
    }[kind]()
    engine = make_engine(model, "binary_crossentropy", "sgd")
    values = []
    for _ in range(2):
        found = [
            engine.evaluate(data, metric) for data in (Data(X, y), Data(X, y, resident_limit=1))
        ]
        reference = fresh_metric(metric)
        reference.update_state(y, outputs_of(model, X))
        expected = float(keras.ops.convert_to_numpy(reference.result()))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        values.append(expected)
        engine.train_epoch(Data(X, y), np.arange(300), 100)
    assert values[0] != values[1]


def test_predictions_and_metrics_are_those_of_keras():
    X, y = blobs(50)
    model = mlp()
    engine = make_engine(model, LOSS, "sgd")
    np.testing.assert_allclose(engine.predict(X, batch_size=16), outputs_of(model, X), rtol=1e-5)
    metric = fresh_metric("accuracy", engine.predict(X[:2]), y[:2])
    expected = (outputs_of(model, X).argmax(axis=1) == y).mean()
    assert engine.evaluate(Data(X, y), metric) == pytest.approx(expected)


def test_frozen_weights_stay_zero_under_momentum_and_weight_decay():
    X, y = blobs()
    model = mlp()
    engine = make_engine(model, LOSS, keras.optimizers.AdamW(0.01), optimizable(model))
    data = Data(X, y)
    engine.train_epoch(data, np.arange(len(X)), 32)  # momentum is there
    rng = np.random.default_rng(0)
    masks = {n: rng.integers(0, 2, kernel_of(model, n).shape) for n in ("fc1", "fc2", "out")}
    engine.projection.update(masks)
    engine.project_weights()
    before = {name: kernel_of(model, name) for name in masks}
    engine.train_epoch(data, np.arange(len(X)), 32)
    for name, mask in masks.items():
        after = kernel_of(model, name)
        assert (after[mask == 0] == 0).all()
        assert (after[mask == 1] != before[name][mask == 1]).mean() > 0.9


def test_shared_weights_train_on_as_one_value():
    X, y = blobs()
    model = mlp()
    attributes = optimizable(model, weight_sharing=True)
    grouping = attributes["fc1"].grouping
    shared = np.arange(grouping.n_groups) % 2 == 0
    offsets = {"fc1": grouping.spread(np.where(shared, grouping.means(kernel_of(model, "fc1")), 0))}
    masks = {"fc1": grouping.spread((~shared).astype("float32"))}
    engine = make_engine(model, LOSS, "adam", attributes)
    engine.projection.update(masks, offsets)
    engine.project_weights()
    first = grouping.to_groups(kernel_of(model, "fc1"))
    np.testing.assert_allclose(first[shared], grouping.to_groups(offsets["fc1"])[shared], rtol=1e-6)
    engine.train_epoch(Data(X, y), np.arange(len(X)), 32)
    last = grouping.to_groups(kernel_of(model, "fc1"))
    assert (np.ptp(last[shared], axis=1) == 0).all()
    assert (last[shared][:, 0] != first[shared][:, 0]).all()
    assert (np.ptp(last[~shared], axis=1) > 0).all()


def test_the_gradient_of_a_shared_value_is_the_mean_over_its_group():
    X, y = blobs()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, use_bias=False, name="fc1")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    attributes = optimizable(model, "structured", weight_sharing=True)
    kernel = kernel_of(model, "fc1")
    mean = np.broadcast_to(kernel.mean(axis=0), kernel.shape).copy()
    engine = make_engine(model, loss, keras.optimizers.SGD(0.5), attributes)
    engine.projection.update({"fc1": np.zeros((6, 3))}, {"fc1": mean})
    engine.project_weights()
    engine.step(X, y)
    logits = X.astype("float64") @ mean
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = X.T @ (p - np.eye(3)[y]) / len(X)
    expected = mean - 0.5 * gradient.mean(axis=0)
    np.testing.assert_allclose(kernel_of(model, "fc1"), expected, rtol=1e-4, atol=1e-6)


def test_new_masks_take_effect_without_a_new_compilation():
    X, y = blobs(64)
    model = mlp()
    engine = make_engine(model, LOSS, "adam", optimizable(model))
    for seed in range(3):
        mask = np.random.default_rng(seed).integers(0, 2, (6, 8))
        engine.projection.update({"fc1": mask})
        engine.train_epoch(Data(X, y), np.arange(64), 32)
        np.testing.assert_array_equal(kernel_of(model, "fc1") != 0, mask == 1)
        if seed < 2:
            engine.projection.release()
            engine.train_epoch(Data(X, y), np.arange(64), 32)
            assert (kernel_of(model, "fc1") != 0).all()
    assert engine.compilations == 1


def test_biases_of_pruned_units_are_frozen_with_them():
    X, y = blobs(64)
    model = mlp()
    engine = make_engine(model, LOSS, "adam", optimizable(model, "structured"))
    mask = np.ones((6, 8))
    mask[:, [1, 5]] = 0
    engine.projection.update({"fc1": mask})
    engine.train_epoch(Data(X, y), np.arange(64), 32)
    bias = np.array(keras.ops.convert_to_numpy(model.get_layer("fc1").bias))
    np.testing.assert_array_equal(bias != 0, mask[0] == 1)


def test_masks_that_do_not_fit_are_refused():
    model = mlp()
    projection = make_engine(model, LOSS, "sgd", optimizable(model)).projection
    with pytest.raises(InvalidInputError, match="not optimizable: \\['fc9'\\]"):
        projection.update({"fc9": np.ones((6, 8))})
    with pytest.raises(InvalidInputError, match=r"layer 'fc1' must have its kernel's shape \(6, 8"):
        projection.update({"fc1": np.ones((8, 6))})
    with pytest.raises(InvalidInputError, match="do not allow it"):
        projection.update({"fc1": np.zeros((6, 8))}, {"fc1": np.ones((6, 8))})


class Diary(keras.callbacks.Callback):
    def __init__(self, stop_after=None):
        super().__init__()
        self.entries = []
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        self.entries.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.entries.append((epoch, sorted(logs)))
        if self.stop_after == epoch:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.entries.append("end")


def phase(engine, data, epochs=3, **options):
    metric = fresh_metric("accuracy", engine.predict(data.X[:2]), data.y[:2])
    return train(
        engine,
        data,
        data,
        metric,
        increasing=True,
        epochs=epochs,
        batch_size=32,
        rng=np.random.default_rng(0),
        **options,
    )


def test_callbacks_are_called_and_can_stop():
    X, y = blobs(64)
    diary = Diary(stop_after=1)
    phase(make_engine(mlp(), LOSS, "adam"), Data(X, y), 5, callbacks=[diary])
    logs = ["loss", "val_accuracy"]
    assert diary.entries == ["begin", (0, logs), (1, logs), "end"]


class Script:
    """An engine whose metric after each epoch is written down beforehand."""

    def __init__(self, values):
        self.model, self.values, self.epoch = mlp(), values, 0

    def train_epoch(self, data, order, batch_size):
        self.epoch += 1
        return 0.0

    def evaluate(self, data, metric):
        return self.values[self.epoch - 1]

    def get_weights(self):
        return [self.epoch]

    def set_weights(self, weights):
        self.kept = weights[0]


@pytest.mark.parametrize(
    "values, options, trained, kept",
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], {}, 5, 5),  # it goes on while it gets better
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {}, 4, 4),  # two epochs brought less than a thousandth
        ([0.5, 0.6, 0.55, 0.59, 0.9], {}, 4, 2),
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {"patience": None}, 5, 5),
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {"patience": 3}, 5, 5),
        ([0.5, 0.51, 0.52, 0.53, 0.54], {"needed": 0.9}, 3, 3),  # 0.52 + 2 x 0.01 is not enough
        ([0.5, 0.51, 0.52, 0.53, 0.54], {"needed": 0.54}, 5, 5),
        ([0.2, 0.4, 0.4, 0.4, 0.9], {"needed": 0.6}, 5, 5),  # what once gained may gain again
        ([0.2, 0.4, 0.4, 0.4, 0.9], {"needed": 0.3}, 4, 2),
        ([0.5, 0.6, 0.7, 0.8, 0.9], {"enough": 0.7}, 3, 3),
        ([0.5, 0.6, 0.7, 0.8, 0.9], {"enough": 0.7, "patience": None}, 5, 5),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"increasing": False, "enough": 0.45}, 2, 2),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"increasing": False}, 5, 5),
        ([0.5, 0.49, 0.48, 0.47, 0.4], {"increasing": False, "needed": 0.1}, 3, 3),
        ([0.5, 0.5, 0.5, 0.5, 0.5], {"increasing": False}, 3, 1),
    ],
)
def test_no_epoch_is_trained_for_nothing(values, options, trained, kept):
    X, y = blobs(8)
    engine = Script(values)
    options = {"increasing": True, "patience": 2, **options}
    found = train(
        engine, Data(X, y), Data(X, y), keras.metrics.Accuracy(), epochs=5, batch_size=8,
        rng=np.random.default_rng(0), **options,
    )  # fmt: skip
    assert len(found.losses) == trained and engine.kept == kept
    assert found.metric == values[kept - 1]


def test_the_best_epoch_is_kept():
    X, y = blobs(256)
    model = mlp()
    engine = make_engine(model, LOSS, keras.optimizers.SGD(0.5))
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["val_accuracy"])

    found = phase(engine, Data(X, y), 8, callbacks=[Watch()])
    assert found.metric == max(seen)
    metric = fresh_metric("accuracy", engine.predict(X[:2]), y[:2])
    assert engine.evaluate(Data(X, y), metric) == pytest.approx(found.metric)


def test_a_loss_that_is_no_number_ends_the_phase():
    X, y = blobs(64)
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), L.Dense(1)])
    engine = make_engine(model, "mse", keras.optimizers.SGD(1e20))
    with pytest.raises(TrainingDivergedError, match="in epoch"):
        phase(engine, Data(X, y.astype("float32")[:, None]), 5)


def test_resetting_the_optimizer_forgets_everything():
    X, y = blobs(64)
    runs = []
    for _ in range(2):
        model = mlp()
        engine = make_engine(model, LOSS, "nadam")
        start = engine.get_weights()
        for _ in range(2):
            engine.set_weights(start)
            engine.reset_optimizer()
            engine.train_epoch(Data(X, y), np.arange(64), 32)
            runs.append(engine.get_weights())
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_loss_by_name_is_a_mean():
    y, p = np.array([0, 2, 1, 1]), np.full((4, 3), 1 / 3, "float32")
    for loss in (LOSS, keras.losses.SparseCategoricalCrossentropy()):
        value = float(keras.ops.convert_to_numpy(mean_loss(loss)(y, p)))
        assert value == pytest.approx(np.log(3), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "clipped in all", "lamb"])
def test_group_penalties_are_those_of_regularizers_in_fit(optimizer):
    """Also where the weights are one vector, and the norms' slopes are added to it."""
    make = OPTIMIZERS[optimizer]
    X, y = blobs(100)
    model = mlp()
    reference = copy_model(model)
    attributes = optimizable(model, weight_sharing=True)
    strengths = {"fc1": (0.03, 0.2), "fc2": (0.01, 0.0)}
    engine = make_engine(model, LOSS, make(), attributes, 0, Penalty(model, attributes))
    engine.penalty.assign(strengths)
    losses = [engine.train_epoch(Data(X, y), np.arange(100), 32) for _ in range(2)]
    attached = Penalty(reference, attributes)
    attached.assign(strengths)
    attached.attach()
    reference.compile(make(), LOSS)
    history = reference.fit(X, y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(losses, history.history["loss"], rtol=2e-4)
    for ours, theirs in zip(weights_of(model), weights_of(reference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-5)
    engine.penalty.assign({})
    plain = make_engine(mlp(), LOSS, make())
    plain.set_weights(engine.get_weights())
    engine.reset_optimizer()
    epochs = [each.train_epoch(Data(X, y), np.arange(100), 32) for each in (engine, plain)]
    assert epochs[0] == pytest.approx(epochs[1], rel=1e-5)


def test_several_inputs_and_outputs():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    hidden = L.Dense(8, activation="relu")(L.Concatenate()([a, b]))
    model = keras.Model([a, b], [L.Dense(1)(hidden), L.Dense(1)(hidden)])
    X, y = blobs(64)
    inputs, targets = [X, X[:, :2]], [y[:, None] * 1.0, y[:, None] * 2.0]
    data = Data(inputs, targets)
    engine = make_engine(model, "mse", keras.optimizers.Adam(0.01))
    check_against_model(engine, data)
    losses = [engine.train_epoch(data, np.arange(64), 16) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert np.isfinite(engine.evaluate(data, fresh_metric("mse")))


def test_objects_of_the_caller_are_copied():
    optimizer = keras.optimizers.Adam(0.123)
    model = mlp()
    model.compile(optimizer, LOSS)
    model.fit(*blobs(32), verbose=0)  # a trained optimizer: it has state for these variables
    fresh = fresh_optimizer(optimizer)
    assert fresh is not optimizer and float(fresh.learning_rate) == pytest.approx(0.123)
    metric = keras.metrics.AUC(name="area", num_thresholds=7)
    metric.update_state([0, 1], [0.2, 0.7])
    copy = fresh_metric(metric)
    assert copy is not metric and copy.name == "area" and copy.num_thresholds == 7
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy.result()), 0)


@pytest.mark.parametrize(
    "y, outputs, kind",
    [
        (np.zeros(4), np.zeros((4, 3)), "SparseCategoricalAccuracy"),
        (np.zeros((4, 3)), np.zeros((4, 3)), "CategoricalAccuracy"),
        (np.zeros((4, 1)), np.zeros((4, 1)), "BinaryAccuracy"),
    ],
)
def test_accuracy_means_what_keras_means(y, outputs, kind):
    assert type(fresh_metric("accuracy", outputs, y)).__name__ == kind


def test_builtin_objects_are_told_from_the_callers():
    assert is_builtin("adam") and is_builtin(keras.losses.MeanSquaredError())
    assert is_builtin(keras.losses.mean_squared_error)
    assert not is_builtin(lambda y, p: 0)


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
        np.testing.assert_array_equal(found.y, y)
    # A tuple is a pair, also where the model has two inputs and two outputs.
    pair = open_data(([X, X + 1], [y, y]), "train")
    np.testing.assert_array_equal(pair.X[1], X + 1)
    np.testing.assert_array_equal(pair.y[1], y)
    generator = ((X[i : i + 5], y[i : i + 5]) for i in (0, 5))  # runs but once: read into memory
    np.testing.assert_array_equal(open_data(generator, "train").X, X)
    assert isinstance(open_data(Batches(), "val"), Stream)
    assert isinstance(open_data(lambda: iter([(X, y)]), "val"), Stream)
    with pytest.raises(InvalidTypeError, match="the train data set must be a pair"):
        open_data(3, "train")


@pytest.mark.parametrize(
    "dataset, message",
    [
        ([(np.ones((2, 6)), np.ones(2), np.ones(2))], "3 parts. Sample weights"),
        ((np.ones((2, 6)), np.ones(2), np.ones(2)), "3 parts. Sample weights"),
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


def test_streams_train_and_are_judged_as_arrays_are():
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
        metric = fresh_metric("accuracy", engine.predict(X[:2]), y[:2])
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


@pytest.mark.parametrize("what", ["loss", "optimizer", "metric"])
def test_unknown_names_and_kinds_are_refused(what):
    make = {"loss": mean_loss, "optimizer": fresh_optimizer, "metric": fresh_metric}[what]
    with pytest.raises(InvalidInputError, match="'nonsense'"):
        make("nonsense")
    with pytest.raises(InvalidTypeError):
        make(3)


@pytest.mark.parametrize("name", ["scheduler", "plateau", "stopping", "checkpoint", "log"])
def test_callbacks_of_keras_find_what_they_need(name, tmp_path):
    X, y = blobs(64)
    callbacks = keras.callbacks
    made = {
        "scheduler": lambda: callbacks.LearningRateScheduler(lambda epoch, rate: 0.0),
        "plateau": lambda: callbacks.ReduceLROnPlateau("val_accuracy", mode="max", patience=1),
        "stopping": lambda: callbacks.EarlyStopping("val_accuracy", mode="max", patience=1),
        "checkpoint": lambda: callbacks.ModelCheckpoint(
            tmp_path / "best.keras", "loss", save_best_only=True
        ),
        "log": lambda: callbacks.CSVLogger(tmp_path / "log.csv"),
    }
    engine = make_engine(mlp(), LOSS, "adam")
    before = engine.get_weights()
    found = phase(engine, Data(X, y), 4, callbacks=[made[name]()])
    assert 1 <= len(found.losses) <= 4
    if name == "scheduler":  # a learning rate of zero is one
        for old, new in zip(before, engine.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    if name == "checkpoint":
        assert keras.saving.load_model(tmp_path / "best.keras")
    if name == "log":
        assert (tmp_path / "log.csv").read_text().startswith("epoch,loss,val_accuracy")
