"""Models of many kinds are optimized; layers that cannot be are skipped with the reason."""

from __future__ import annotations

import keras
import numpy as np

from fabricfit.description import SkipReason
from fabricfit.keras import optimize_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.scheduler import ConstantScheduler
from tests.common import L, estimator, kernel_of, lenet
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import run

pytestmark = ON_ONE_BACKEND


class Scale(keras.layers.Layer):
    """A custom layer with a weight."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.factor


class MyDense(keras.layers.Dense):
    """Somebody's own Dense."""


def test_layers_that_cannot_be_optimized_are_skipped_with_the_reason(data, tmp_path):
    keras.utils.set_random_seed(0)
    frozen = L.Dense(6, name="frozen", trainable=False)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            frozen,
            L.BatchNormalization(name="norm"),
            Scale(name="scale"),
            MyDense(6, name="own"),
            L.Dense(8, activation="relu", name="fc"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    before = {name: kernel_of(model, name) for name in ("frozen", "own")}
    result = run(
        model, data, tmp_path, estimator("structured"), ConstantScheduler(0, 0.2, 0.2), rtol=0.1
    )
    skipped = result.report.skipped
    assert "frozen" in skipped["frozen"]
    assert "MyDense" in skipped["own"] and "register_layer" in skipped["own"]
    assert "outputs of the model" in skipped["out"]
    assert set(skipped) == {"frozen", "own", "out"}
    reasons = {layer.name: layer.skip_reason for layer in result.report.layers}
    assert reasons["frozen"] is SkipReason.FROZEN
    assert reasons["own"] is SkipReason.UNKNOWN_LAYER
    assert reasons["out"] is SkipReason.MODEL_OUTPUT
    assert reasons["fc"] is None
    np.testing.assert_array_equal(kernel_of(result.model, "frozen"), before["frozen"])
    assert (kernel_of(result.model, "own") != 0).all()
    assert isinstance(result.model.get_layer("scale"), Scale)


def test_filters_of_a_transposed_convolution_are_its_last_axis_but_one(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            L.Conv2DTranspose(3, 2, name="up"),
            L.Conv2D(3, 2, name="conv"),
            L.Flatten(),
            L.Dense(2, name="dense"),
        ]
    )
    X = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")
    y = np.zeros((32, 2), "float32")
    result = run(
        model,
        ((X, y), (X, y)),
        tmp_path,
        loss_fn="mse",
        validation_metric="mse",
        increasing=False,
        rtol=1e9,
        objective=GPUFLOPEstimator,
        scheduler=ConstantScheduler(0, 0.3, 0.3),
    )
    assert list(result.report.skipped) == ["dense"]
    up, conv = kernel_of(result.model, "up").shape, kernel_of(result.model, "conv").shape
    assert up[-2] == conv[-2] < 3 or conv[-1] < 3
    assert up[-1] == 2


def test_convolutions_are_optimized(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 8, 8, 1)).astype("float32"), rng.integers(0, 4, 64)
    for structure in ("unstructured", "structured", "pattern", "block"):
        result = run(lenet(), ((X, y), (X, y)), tmp_path, estimator(structure), rtol=0.01, epochs=2)
        assert result.report.sparsity == 0.5
        assert (kernel_of(result.model, "conv2") == 0).any()


def test_nested_models_are_optimized_too(data, tmp_path):
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [keras.Input((6,)), L.Dense(10, activation="relu", name="d")], name="block"
    )
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(3, activation="softmax", name="out")(block(inputs)))
    result = run(model, data, tmp_path, rtol=0.1)
    assert (kernel_of(result.model.get_layer("block"), "d") == 0).sum() > 0
    assert [layer.name for layer in result.report.layers] == ["d", "out"]


def test_two_inputs_and_two_outputs_as_lists_are_not_taken_for_batches(tmp_path):
    keras.utils.set_random_seed(0)
    a, b = keras.Input((4,)), keras.Input((4,))
    trunk = L.Dense(8, activation="relu")(L.Concatenate()([a, b]))
    model = keras.Model([a, b], [L.Dense(4)(trunk), L.Dense(4)(trunk)])
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 64, 4)).astype("float32")
    X, y = [first, second], [first, second]
    result = optimize_model(
        model, get_attributes_from_keras_model(model), ParameterEstimator,
        ConstantScheduler(0, 0.3, 0.3), X, y, X, y, 32, 3, "adam", "mse", "mse", False, 100.0,
        directory=str(tmp_path), tuner=None, regularization_range=[1e-5],
    )  # fmt: skip
    assert len(result.inputs) == len(result.outputs) == 2


def test_models_with_several_inputs_and_outputs_are_optimized(tmp_path):
    keras.utils.set_random_seed(0)
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    trunk = L.Dense(8, activation="relu", name="trunk")(L.Concatenate()([a, b]))
    model = keras.Model(
        {"a": a, "b": b}, [L.Dense(1, name="x")(trunk), L.Dense(1, name="y")(trunk)]
    )
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(64, 4)), "b": rng.normal(size=(64, 3))}
    X = {name: value.astype("float32") for name, value in X.items()}
    y = [X["a"][:, :1], X["b"][:, :1]]
    for metric in ("l1", "oracle", "saliency"):
        result = run(
            model,
            ((X, y), (X, y)),
            tmp_path,
            estimator("structured"),
            ConstantScheduler(0, 0.4, 0.4),
            loss_fn="mse",
            validation_metric="mse",
            increasing=False,
            rtol=100.0,
            ranking_metric=metric,
        )
        assert result.report.sparsity == 0.4
        assert set(result.report.skipped) == {"x", "y"}
