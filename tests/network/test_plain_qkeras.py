"""Layers of QKeras become plain ones: the same function but for the rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.layers import family_of
from fabricfit.network.plain_layers import list_quantizing, make_plain
from fabricfit.network.reader import read
from tests.common import L, outputs_of
from tests.network.plain_models import check_plain, draw_weight

pytestmark = [pytest.mark.keras, pytest.mark.qkeras]

qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
if not hasattr(qkeras, "QDense"):
    pytest.skip("another package named qkeras is installed", allow_module_level=True)

RNG = np.random.default_rng(0)


def fine():
    """A quantizer with so many bits that it changes next to nothing."""
    return qkeras.quantized_bits(24, 6, alpha=1)


def quantized(kind, *args, kernels=("kernel",), **options):
    quantizers = {f"{each}_quantizer": fine() for each in (*kernels, "bias")}
    layer = getattr(qkeras, kind)(*args, **quantizers, **options)
    layer.name = "layer"
    return layer


SEPARABLE = ("depthwise", "pointwise")
RELU = "quantized_relu(24, 6)"

LAYERS = {
    "QDense": ((6,), lambda: quantized("QDense", 4, activation=RELU)),
    "QConv1D": ((8, 3), lambda: quantized("QConv1D", 4, 3, strides=2)),
    "QConv2D": ((6, 6, 2), lambda: quantized("QConv2D", 4, 3, padding="same", activation=RELU)),
    "QConv2DTranspose": ((4, 4, 2), lambda: quantized("QConv2DTranspose", 3, 2, strides=2)),
    "QDepthwiseConv2D": (
        (6, 6, 2),
        lambda: quantized("QDepthwiseConv2D", 3, kernels=("depthwise",)),
    ),
    "QSeparableConv1D": ((8, 3), lambda: quantized("QSeparableConv1D", 4, 3, kernels=SEPARABLE)),
    "QSeparableConv2D": (
        (6, 6, 3),
        lambda: quantized("QSeparableConv2D", 4, 3, kernels=SEPARABLE, activation=RELU),
    ),
    "QDenseBatchnorm": ((6,), lambda: quantized("QDenseBatchnorm", 4, activation=RELU)),
    "QConv2DBatchnorm": ((6, 6, 2), lambda: quantized("QConv2DBatchnorm", 3, 3)),
    "QAveragePooling2D": (
        (6, 6, 2),
        lambda: qkeras.QAveragePooling2D(
            3,
            average_quantizer=qkeras.quantized_bits(24, 0, alpha=1),
            activation=RELU,
            name="layer",
        ),
    ),
    "QGlobalAveragePooling2D": (
        (4, 4, 2),
        lambda: qkeras.QGlobalAveragePooling2D(name="layer"),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_plain_layer_computes_the_same(name):
    shape, make = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), make(), L.Flatten(), L.Dense(2, name="out")])
    for variable in model.weights:
        if "float" in variable.dtype:
            draw_weight(RNG, variable)
    check_plain(model, RNG.normal(size=(6, *shape)).astype("float32"), 1e-3)


@pytest.mark.parametrize("kind", ["QSimpleRNN", "QLSTM", "QGRU"])
def test_plain_recurrent_layers_compute_the_same(kind):
    gates = {} if kind == "QSimpleRNN" else {"recurrent_activation": "sigmoid"}
    kernels = ("kernel", "recurrent")
    layer = quantized(kind, 4, kernels=kernels, activation="tanh", return_sequences=True, **gates)
    model = keras.Sequential([keras.Input((5, 3)), layer])
    for variable in layer.weights:
        variable.assign(RNG.normal(0, 0.4, variable.shape))
    (part,) = family_of(layer).plain_layers(layer)
    X = RNG.normal(size=(4, 5, 3)).astype("float32")
    made = keras.Sequential([keras.Input((5, 3)), part.layer])
    part.layer.set_weights(part.weights)
    assert type(part.layer) is getattr(L, kind[1:]) and part.layer.name == "layer"
    np.testing.assert_allclose(outputs_of(made, X), outputs_of(model, X), atol=1e-3)


def test_what_another_layer_wraps_is_named():
    wrapped = L.TimeDistributed(quantized("QDense", 4), name="wrapped")
    model = keras.Sequential([keras.Input((5, 3)), wrapped, L.Flatten(), L.Dense(2)])
    assert list_quantizing(read(model)) == ["wrapped"]
    with pytest.raises(InvalidInputError, match="layer 'wrapped'"):
        make_plain(read(model))


ACTIVATIONS = [
    ("quantized_bits(24, 6, 0, 1)", lambda x: x),
    ("quantized_bits(24, 6, 0, 0)", lambda x: np.maximum(x, 0)),
    ("quantized_relu(24, 6)", lambda x: np.maximum(x, 0)),
    ("quantized_relu(24, 6, negative_slope=0.25)", lambda x: np.where(x > 0, x, x / 4)),
    ("quantized_relu(24, 6, 0, 0.0, 0, 1.5, False)", lambda x: np.clip(x, 0, 1.5)),
    ("quantized_tanh(24, use_real_tanh=True)", np.tanh),
    ("quantized_sigmoid(24, use_real_sigmoid=True)", lambda x: 1 / (1 + np.exp(-x))),
]


@pytest.mark.parametrize(("text", "function"), ACTIVATIONS)
@pytest.mark.parametrize("inside", [True, False])
def test_activations_are_what_they_round(text, function, inside):
    dense = quantized("QDense", 5, activation=text if inside else None)
    behind = [] if inside else [qkeras.QActivation(text, name="act")]
    model = keras.Sequential([keras.Input((5,)), dense, *behind])
    kernel, bias = RNG.normal(size=(5, 5)), RNG.normal(size=5)
    dense.set_weights([kernel, bias])
    X = RNG.normal(size=(20, 5)).astype("float32")
    made = make_plain(read(model)).network.model
    np.testing.assert_allclose(outputs_of(made, X), function(X @ kernel + bias), atol=1e-4)
    np.testing.assert_allclose(outputs_of(made, X), outputs_of(model, X), atol=1e-3)
    if not inside or len(made.layers) == 2:
        assert made.output_names == [model.layers[-1].name]


def test_a_mask_of_weights_is_kept():
    mask = np.array([[0, 0, 0], [1, 1, 0], [0, 1, 0]], "float32")
    given = keras.Input((6, 6, 2))
    x = qkeras.QConv2D(4, 3, kernel_quantizer=fine(), mask=mask, name="conv")(given)
    x = qkeras.QActivation("quantized_relu(24, 6)", name="act")(x)
    model = keras.Model(given, L.Flatten()(x))
    X = RNG.normal(size=(4, 6, 6, 2)).astype("float32")
    made = make_plain(read(model)).network.model
    np.testing.assert_allclose(outputs_of(made, X), outputs_of(model, X), atol=1e-3)
    assert not made.get_layer("conv").get_weights()[0][mask == 0].any()


def test_constraints_of_quantizers_go_and_the_callers_stay():
    own = keras.constraints.NonNeg()
    kept = quantized("QDense", 3, kernel_constraint=own)
    model = keras.Sequential([keras.Input((4,)), kept])
    layer = make_plain(read(model)).network.model.get_layer("layer")
    assert layer.kernel_constraint is own and layer.bias_constraint is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: qkeras.QActivation("ternary()", name="layer"), "rounds no function of Keras"),
        (lambda: qkeras.QActivation("quantized_tanh(8)", name="layer"), "use_real_tanh=True"),
        (lambda: quantized("QDense", 4, activation="binary()"), "rounds no function of Keras"),
        (
            lambda: qkeras.QAdaptiveActivation("quantized_relu", 8, name="layer"),
            "knows no layers of Keras",
        ),
    ],
)
def test_what_has_no_plain_layer_is_named_with_the_reason(make, text):
    model = keras.Sequential([keras.Input((4,)), make(), L.Dense(2, name="out")])
    with pytest.raises(InvalidInputError, match="layer 'layer'") as caught:
        make_plain(read(model))
    assert text in str(caught.value) and "precision='given'" in str(caught.value)
