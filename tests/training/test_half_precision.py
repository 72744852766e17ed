"""Models in half and in double precision train as by Keras' own ``fit``."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.network.cloning import copy_model
from fabricfit.samples import Data
from fabricfit.training import Penalty, make_engine
from tests.common import L, blobs, described, outputs_of, weights_of
from tests.marks import first_quick

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"
X, Y = blobs(64)


def network(policy, **options):
    """A classifier whose layers, and itself, have a dtype policy."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential(
            [
                keras.Input((6,)),
                L.Dense(8, activation="relu", name="fc1", **options),
                L.BatchNormalization(name="norm"),
                L.Dense(8, activation="relu", name="fc2"),
                L.Dense(3, activation="softmax", name="out"),
            ]
        )
    finally:
        keras.config.set_dtype_policy(before)


def assert_alike(first, second, tolerance):
    for ours, theirs in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_allclose(
            ours.astype("float32"), theirs.astype("float32"), rtol=tolerance, atol=tolerance / 10
        )


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.001),
    "scaled adam": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.001)),
    "growing": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=4.0, dynamic_growth_steps=2
    ),
    "by a constant": lambda: keras.optimizers.SGD(0.01, loss_scale_factor=64.0),
    "clipped one by one": lambda: keras.optimizers.Adam(0.001, clipnorm=0.1),
}


@pytest.mark.parametrize("optimizer", first_quick(OPTIMIZERS, 5, elsewhere=2))
@pytest.mark.parametrize(
    "policy", first_quick(["mixed_float16", "mixed_bfloat16", "float32", "float64"])
)
def test_epochs_are_those_of_keras_fit(policy, optimizer):
    # On TensorFlow, Keras cannot add a penalty in double precision to a loss in single precision.
    penalized = {} if policy == "float64" else {"kernel_regularizer": keras.regularizers.L2(0.01)}
    model = network(policy, **penalized)
    reference = copy_model(model)
    assert reference.dtype_policy.name == policy
    engine = make_engine(model, LOSS, OPTIMIZERS[optimizer]())
    losses = [engine.train_epoch(Data(X, Y), np.arange(64), 32) for _ in range(3)]
    reference.compile(OPTIMIZERS[optimizer](), LOSS)
    history = reference.fit(X, Y, batch_size=32, epochs=3, shuffle=False, verbose=0).history
    half = policy.startswith("mixed")
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-2 if half else 2e-4)
    assert_alike(model, reference, 3e-2 if half else 2e-3)
    scaled = [
        isinstance(o, keras.optimizers.LossScaleOptimizer)
        for o in (engine.optimizer, reference.optimizer)
    ]
    assert scaled[0] == scaled[1]
    if scaled[0]:
        for name in ("dynamic_scale", "step_counter", "iterations"):
            ours, theirs = (getattr(o, name) for o in (engine.optimizer, reference.optimizer))
            assert float(keras.ops.convert_to_numpy(ours)) == float(
                keras.ops.convert_to_numpy(theirs)
            )


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, keras.optimizers.Lamb])
def test_a_step_that_overflows_is_skipped(optimizer):
    model = network("mixed_float16")
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    scaled = keras.optimizers.LossScaleOptimizer(optimizer(0.01), initial_scale=2.0**100)
    engine = make_engine(model, LOSS, scaled)
    engine.train_epoch(Data(X, Y), np.arange(64), 32)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert float(engine.optimizer.dynamic_scale.numpy()) == 2.0**98
    assert int(engine.optimizer.iterations.numpy()) == 0
    engine.reset_optimizer()
    assert float(engine.optimizer.dynamic_scale.numpy()) == 2.0**100
    assert (
        scaled.inner_optimizer.variables == keras.optimizers.get(scaled.inner_optimizer).variables
    )


@pytest.mark.parametrize("clip", [{}, {"clipnorm": 1.0}], ids=["packed", "one by one"])
def test_masks_and_penalties_do_not_depend_on_the_scale(clip):
    found = []
    for scaled in (True, False):
        model = network("float32")
        attributes = described(model, weight_sharing=True)
        optimizer = keras.optimizers.SGD(0.01, **clip)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        engine = make_engine(model, LOSS, optimizer, attributes, 0, Penalty(model, attributes))
        engine.penalty.assign(dict.fromkeys(("fc1", "fc2", "out"), (0.01, 0.02)))
        masks = {"fc1": np.ones((6, 8)), "fc2": np.ones((8, 8))}
        offsets = {"fc1": np.zeros((6, 8)), "fc2": np.zeros((8, 8))}
        masks["fc1"][:, :3] = masks["fc2"][:, 2:4] = 0
        offsets["fc2"][:, 2] = 0.5
        engine.projection.update(masks, offsets)
        losses = [engine.train_epoch(Data(X, Y), np.arange(64), 32) for _ in range(3)]
        assert (weights_of(model)[0][:, :3] == 0).all()
        found.append((losses, model))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    assert_alike(found[0][1], found[1][1], 1e-4)


def test_candidates_each_have_a_scale_of_their_own():
    model = network("mixed_float16")
    attributes = described(model)
    engine = make_engine(model, LOSS, "adam", attributes, 0, Penalty(model, attributes))
    start = engine.get_state()
    tried = [(start, dict.fromkeys(attributes, (s, 0.0))) for s in (0.0, 1e-3, 0.0)]
    found = [
        loss for _, loss in engine.train_candidates(tried, Data(X, Y), [np.arange(64)] * 2, 32)
    ]
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(found[2], rel=1e-3) and found[1] > found[0]


def test_predictions_and_metrics_are_those_of_keras():
    model = network("mixed_float16")
    engine = make_engine(model, LOSS, "adam")
    metric = keras.metrics.SparseCategoricalCrossentropy()
    model.compile(loss=LOSS)
    expected = model.evaluate(X, Y, verbose=0)
    assert engine.evaluate(Data(X, Y), metric) == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(engine.predict(X), outputs_of(model, X), rtol=1e-2)
