"""Layers of HGQ2 become plain ones: the same function but for the rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.network.plain_layers import make_plain
from fabricfit.network.reader import read
from tests.common import L, outputs_of
from tests.network.plain_models import check_plain, draw_weight

pytestmark = [pytest.mark.keras, pytest.mark.hgq]

hgq = pytest.importorskip("hgq", exc_type=ImportError)
from hgq import layers as q_layers
from hgq.config import HardSigmoidConfig, QuantizerConfigScope
from hgq.quantizer import QuantizerConfig

RNG = np.random.default_rng(0)

LAYERS = {
    "QDense": ((6,), lambda: q_layers.QDense(4, activation="relu", name="layer")),
    "QDense without bias": ((5, 6), lambda: q_layers.QDense(4, use_bias=False, name="layer")),
    "QBatchNormDense": ((6,), lambda: q_layers.QBatchNormDense(4, activation="relu", name="layer")),
    "QEinsumDense": (
        (3, 4),
        lambda: q_layers.QEinsumDense("abc,cd->abd", (3, 5), bias_axes="d", name="layer"),
    ),
    "QEinsumDenseBatchnorm": (
        (3, 4),
        lambda: q_layers.QEinsumDenseBatchnorm("abc,cd->abd", (3, 5), bias_axes="d", name="layer"),
    ),
    "QConv1D": ((8, 3), lambda: q_layers.QConv1D(4, 3, padding="same", name="layer")),
    "QConv2D": ((6, 6, 2), lambda: q_layers.QConv2D(4, 3, strides=2, padding="same", name="layer")),
    "QConv3D": ((4, 4, 4, 2), lambda: q_layers.QConv3D(3, 2, name="layer")),
    "QBatchNormalization": ((6,), lambda: q_layers.QBatchNormalization(name="layer")),
    "without a center": ((6,), lambda: q_layers.QBatchNormalization(center=False, name="layer")),
    "QUnaryFunctionLUT": ((6,), lambda: q_layers.QUnaryFunctionLUT("tanh", name="layer")),
    "QSoftmax": ((6,), lambda: q_layers.QSoftmax(name="layer")),
    "QMaxPool2D": ((6, 6, 2), lambda: q_layers.QMaxPool2D(2, name="layer")),
    "QGlobalAveragePooling1D": ((6, 2), lambda: q_layers.QGlobalAveragePooling1D(name="layer")),
}


def fine():
    """Quantizers with so many bits that they change next to nothing."""
    return QuantizerConfigScope(
        default_q_type="kif", i0=7, f0=16, overflow_mode="SAT", ic=None, fc=None
    )


def randomize(model):
    for layer in model.layers:
        quantizers = {
            id(variable)
            for each in layer._flatten_layers(include_self=False)
            for variable in each.variables
        }
        for variable in layer.weights:
            if id(variable) not in quantizers and variable.name not in ("beta", "ebops"):
                draw_weight(RNG, variable)


@pytest.mark.parametrize("name", LAYERS)
def test_a_plain_layer_computes_the_same(name):
    shape, make = LAYERS[name]
    with fine():
        layer = make()
    model = keras.Sequential([keras.Input(shape), layer, L.Flatten(), L.Dense(2, name="out")])
    randomize(model)
    check_plain(model, RNG.normal(size=(6, *shape)).astype("float32"), 2e-3)


@pytest.mark.parametrize(
    "kind", ["QAdd", "QSubtract", "QMultiply", "QMaximum", "QMinimum", "QAveragePow2", "QDot"]
)
def test_branches_are_merged_as_before(kind):
    given = keras.Input((4,))
    with fine():
        first, second = (
            q_layers.QDense(4, name="first")(given),
            q_layers.QDense(4, name="second")(given),
        )
        merged = getattr(q_layers, kind)(name="layer")([first, second])
        model = keras.Model(
            given, q_layers.Quantizer(QuantizerConfig(place="datalane"), name="end")(merged)
        )
    X = RNG.normal(size=(6, 4)).astype("float32")
    plain = make_plain(read(model))
    np.testing.assert_allclose(
        outputs_of(plain.network.model, X), outputs_of(model, X), rtol=2e-3, atol=2e-3
    )
    assert plain.parts["end"] == () and plain.network.model.output_names == ["end"]


def unsigned(overflow="SAT"):
    return QuantizerConfig("kif", "datalane", k0=0, i0=7, f0=12, ic=None, overflow_mode=overflow)


@pytest.mark.parametrize("place", ["alone", "before", "behind", "wraps"])
def test_a_format_without_a_sign_that_saturates_is_a_rectifier(place):
    given = keras.Input((4,))
    with fine():
        options = {"enable_oq": True, "oq_conf": unsigned()} if place == "behind" else {}
        x = q_layers.QDense(5, name="first", **options)(given)
        if place in ("alone", "wraps"):
            config = unsigned("WRAP" if place == "wraps" else "SAT")
            x = q_layers.Quantizer(config, name="cut")(x)
        options = {"iq_conf": unsigned()} if place == "before" else {}
        model = keras.Model(given, q_layers.QDense(3, name="out", **options)(x))
    X = RNG.normal(size=(20, 4)).astype("float32")
    made = make_plain(read(model)).network.model
    kinds = [type(layer).__name__ for layer in made.layers[1:]]
    if place == "wraps":
        assert kinds == ["Dense", "Dense"]
        return
    assert kinds == ["Dense", "Activation", "Dense"]
    np.testing.assert_allclose(outputs_of(made, X), outputs_of(model, X), rtol=2e-3, atol=2e-3)


def test_a_format_without_a_sign_is_nothing_where_nothing_is_negative():
    start = keras.Input((4, 2))
    x = q_layers.Quantizer(unsigned(), name="cut")(start)
    x = L.Flatten()(q_layers.QDense(5, activation="relu", name="first")(x))
    model = keras.Model(start, q_layers.QDense(3, iq_conf=unsigned(), name="out")(x))
    made = make_plain(read(model)).network.model
    assert [type(layer).__name__ for layer in made.layers[1:]] == ["Dense", "Flatten", "Dense"]


def averaged():
    given = [keras.Input((4,)) for _ in range(3)]
    return keras.Model(given, L.Dense(2)(q_layers.QAveragePow2(name="layer")(given)))


def shifted():
    given = keras.Input((4,))
    added = q_layers.QAdd(iq_confs=[HardSigmoidConfig(), QuantizerConfig()], name="layer")
    return keras.Model(given, L.Dense(2)(added([given, given])))


def alone(layer, shape=(4,)):
    return keras.Sequential([keras.Input(shape), layer, L.Flatten(), L.Dense(2, name="out")])


def affine():
    return q_layers.Quantizer(QuantizerConfig(place="datalane", affine=(0.25, 0.5)), name="layer")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (averaged, "divides 3 numbers by 4"),
        (lambda: alone(affine()), "scales and shifts"),
        (lambda: alone(q_layers.QDense(3, iq_conf=HardSigmoidConfig(), name="layer")), "scales"),
        (shifted, "scales and shifts"),
        (lambda: alone(q_layers.QSoftmax(input_scaler=2.0, name="layer")), "input_scaler=2"),
        (lambda: alone(q_layers.QSum(name="layer"), (3, 4)), "knows no layers of Keras"),
        (lambda: alone(q_layers.QGRU(3, name="layer"), (3, 4)), "saturate by the formats"),
    ],
)
def test_what_has_no_plain_layer_is_named_with_the_reason(make, text):
    with pytest.raises(InvalidInputError, match="layer 'layer'") as caught:
        make_plain(read(make()))
    assert text in str(caught.value) and "precision='given'" in str(caught.value)
