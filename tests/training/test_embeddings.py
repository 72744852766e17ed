"""Embeddings, whose gradients are sparse on TensorFlow."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.curvature import Curvature
from fabricfit.network.cloning import copy_model
from fabricfit.samples import Data
from fabricfit.training import Penalty, make_engine
from tests.common import L, described, weights_of
from tests.marks import first_quick

pytestmark = pytest.mark.keras

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 12, (48, 4))
Y = RNG.normal(size=(48, 1)).astype("float32")


def network(dtype="int64", **options):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,), dtype=dtype),
            L.Embedding(12, 3, name="table", **options),
            L.GlobalAveragePooling1D() if options.get("mask_zero") else L.Flatten(),
            L.Dense(6, activation="tanh", name="fc"),
            L.Dense(1, name="out"),
        ]
    )


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "clipped one by one": lambda: keras.optimizers.SGD(0.05, clipnorm=0.1),
    "clipped in all": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "adadelta": lambda: keras.optimizers.Adadelta(0.5),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "ftrl": lambda: keras.optimizers.Ftrl(0.05),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}


class ByProduct(L.Layer):
    """An embedding as a product with ones, whose gradient is dense."""

    def build(self, shape):
        self.table = self.add_weight(shape=(12, 3), name="table")

    def call(self, x):
        return keras.ops.matmul(keras.ops.one_hot(x, 12), self.table)


def by_product(model):
    start = keras.Input((4,), dtype="int64")
    reference = keras.Sequential([start, ByProduct(), *copy_model(model).layers[1:]])
    reference.set_weights(model.get_weights())
    return reference


@pytest.mark.parametrize("optimizer", first_quick(OPTIMIZERS, 5, elsewhere=2))
def test_epochs_are_those_of_keras_fit(optimizer):
    """Keras itself squares the parts of a sparse gradient before it adds them up, on TensorFlow."""
    model = network()
    linear = optimizer in ("sgd", "momentum")
    exact = linear or keras.backend.backend() != "tensorflow"
    reference = copy_model(model) if exact else by_product(model)
    engine = make_engine(model, "mse", OPTIMIZERS[optimizer]())
    losses = [engine.train_epoch(Data(TOKENS, Y), np.arange(48), 16) for _ in range(2)]
    reference.compile(OPTIMIZERS[optimizer](), "mse")
    history = reference.fit(TOKENS, Y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-3)
    for ours, theirs in zip(weights_of(model), weights_of(reference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"mask_zero": True}, {"trainable": False}])
@pytest.mark.parametrize("dtype", first_quick(["int64", "int32", "float32"]))
def test_masks_and_penalties_act_on_tables(dtype, options):
    model = network(dtype, **options)
    attributes = described(model)
    if options.get("trainable") is False:
        attributes["table"].optimizable = False
    engine = make_engine(model, "mse", "adam", attributes, 0, Penalty(model, attributes))
    before = weights_of(model)[0]
    if attributes["table"].optimizable:
        mask = np.ones((12, 3))
        mask[:, 1] = 0
        engine.penalty.assign({"table": (0.01, 0.0)})
        engine.projection.update({"table": mask})
    for tokens in (TOKENS, TOKENS.astype("float32")):
        engine.train_epoch(Data(tokens, Y), np.arange(48), 20)
        engine.step(tokens[:8], Y[:8])
    after = weights_of(model)[0]
    if attributes["table"].optimizable:
        assert (after[:, 1] == 0).all() and (after[:, 0] != before[:, 0]).any()
    else:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("method", ["auto", "exact", "estimate"])
def test_tables_have_curvature(method):
    model = network()
    curvature = Curvature(model, None, "mse")
    found = curvature.hessians(TOKENS, Y, method=method).values["table"]
    gradient = curvature.gradients(TOKENS, Y)["table"]
    table, step = model.get_layer("table").embeddings, 1e-2
    start = np.array(keras.ops.convert_to_numpy(table))
    for place in ((3, 1), (7, 2)):
        losses = []
        for shift in (-step, 0, step):
            moved = start.copy()
            moved[place] += shift
            table.assign(moved)
            outputs = keras.ops.convert_to_numpy(model(TOKENS)).astype("float64")
            losses.append(np.mean((outputs - Y) ** 2))
        table.assign(start)
        assert gradient[place] == pytest.approx(
            (losses[2] - losses[0]) / (2 * step), rel=2e-2, abs=1e-4
        )
        if method == "exact":
            second = (losses[2] - 2 * losses[1] + losses[0]) / step**2
            assert found[place] == pytest.approx(second, rel=5e-2, abs=1e-3)
    assert np.isfinite(found).all()
