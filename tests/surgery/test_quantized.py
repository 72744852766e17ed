"""QKeras' layers: only what the quantizers cannot notice is removed."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.surgery.reduction import plan_reduction, reduce_model

pytestmark = [pytest.mark.keras, pytest.mark.qkeras]

qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
if not hasattr(qkeras, "QDense"):
    pytest.skip("another package named qkeras is installed", allow_module_level=True)


def quantizer(bits=6, **options):
    return qkeras.quantized_bits(bits, 1, **{"alpha": 1} | options)


def qdense(units, name, kernel_quantizer=None, **options):
    return qkeras.QDense(
        units,
        kernel_quantizer=kernel_quantizer or quantizer(),
        bias_quantizer=quantizer(),
        name=name,
        **options,
    )


def fill(model, seed=0, **biases):
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [rng.normal(0, 0.5, w.shape).astype("float32") for w in layer.get_weights()]
        if weights and layer.name in biases:
            weights[1][: len(biases[layer.name])] = biases[layer.name]
        if weights:
            layer.set_weights(weights)
    return model


def zero(model, name, units):
    kernel, *rest = model.get_layer(name).get_weights()
    kernel[..., units] = 0
    model.get_layer(name).set_weights([kernel, *rest])


def assert_equal_to_the_bit(model, reduced):
    x = np.random.default_rng(1).normal(0, 1, (8, *model.inputs[0].shape[1:])).astype("float32")
    a, b = (keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, reduced))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert np.ptp(a) > 1e-3


@pytest.mark.parametrize(
    "activation", [layers.ReLU, lambda: qkeras.QActivation("quantized_relu(6,1)")]
)
def test_zero_goes_and_another_constant_stays(activation):
    model = keras.Sequential(
        [keras.Input((5,)), qdense(6, "a"), activation(), qdense(4, "b"), qdense(3, "out")]
    )
    fill(model, a=[-0.5, 0.5, -0.001])
    zero(model, "a", [0, 1, 2])
    reduced = reduce_model(model)
    assert plan_reduction(model).removed == {"a": [0, 2]}
    assert "quantized" in plan_reduction(model).kept["a"]
    assert_equal_to_the_bit(model, reduced)
    assert type(reduced.get_layer("a")) is qkeras.QDense
    assert reduced.get_layer("a").kernel_quantizer_internal.bits == 6


def test_quantized_activation_inside_the_layer():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            qdense(6, "a", activation=qkeras.quantized_relu(6, 1)),
            layers.Dense(3, name="out"),
        ]
    )
    fill(model, a=[-0.5, 0.5])
    zero(model, "a", [0, 1])
    assert plan_reduction(model).removed == {"a": [0, 1]}  # a plain Dense takes up any constant
    assert_equal_to_the_bit(model, reduce_model(model))


def test_convolution():
    model = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            qkeras.QConv2D(
                4, 2, kernel_quantizer=quantizer(), bias_quantizer=quantizer(), name="c1"
            ),
            layers.ReLU(),
            qkeras.QConv2D(3, 2, padding="same", kernel_quantizer=quantizer(), name="c2"),
            layers.Flatten(),
            qdense(3, "out"),
        ]
    )
    fill(model, c1=[-0.5, 0.5])
    zero(model, "c1", [0, 1])
    assert plan_reduction(model).removed == {"c1": [0]}
    assert_equal_to_the_bit(model, reduce_model(model))


def test_quantizer_that_does_not_map_zero_to_zero_keeps_the_unit():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            qdense(6, "a", kernel_quantizer=qkeras.binary(alpha=1)),
            layers.ReLU(),
            layers.Dense(3, name="out"),
        ]
    )
    fill(model)
    zero(model, "a", [0])
    assert plan_reduction(model).removed == {}


def test_scale_that_depends_on_removed_rows_blocks():
    def build(alpha):
        model = keras.Sequential(
            [
                keras.Input((5,)),
                qdense(4, "a"),
                layers.ReLU(),
                qdense(3, "b", kernel_quantizer=qkeras.binary(alpha=alpha)),
                layers.Dense(2, name="out"),
            ]
        )
        fill(model, a=[-0.5])
        zero(model, "a", [0])
        return model

    assert plan_reduction(build(1)).removed == {"a": [0]}
    blocked = build("auto")
    assert plan_reduction(blocked).removed == {}
    assert "scale" in plan_reduction(blocked).kept["a"]
    assert_equal_to_the_bit(blocked, reduce_model(blocked))


def test_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((5,)), qdense(4, "a"), layers.ReLU(), qdense(3, "out")])
    fill(model, a=[-0.5])
    zero(model, "a", [0])
    reduced = reduce_model(model)
    reduced.save(tmp_path / "reduced.keras")
    assert_equal_to_the_bit(model, keras.models.load_model(tmp_path / "reduced.keras"))
