"""One contract for the engines of all backends, with Keras' own ``fit`` as the oracle."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.layers.regularizers import DenseRegularizer
from fabricfit.losses import ModelMetric, fresh_metric
from fabricfit.network.cloning import copy_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.samples import Data
from fabricfit.training import (
    Penalty,
    check_against_model,
    make_engine,
)
from tests.common import L, blobs, kernel_of, mlp, outputs_of, weights_of
from tests.marks import first_quick

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


@pytest.mark.parametrize("optimizer", first_quick(OPTIMIZERS, 13, elsewhere=4))
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
    metric = ModelMetric("accuracy")
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


@pytest.mark.parametrize(
    "optimizer", first_quick(["adam", "clipped in all", "lamb"], 3, elsewhere=1)
)
def test_group_penalties_are_those_of_regularizers_in_fit(optimizer):
    """Also where the weights are one vector, and the norms' optimizer_gradients are added to it."""
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
