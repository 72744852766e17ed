"""Layers that train number formats, against formulas written out in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.network.reader import read
from fabricfit.precision.model import build_precision_model
from fabricfit.precision.rounding import leading_bits, power_of_two
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L, outputs_of

pytestmark = pytest.mark.keras

LN2 = np.log(2)


def to_numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)


def rounded(x, bits):
    scale = np.exp2(np.round(bits))
    return np.floor(x * scale + 0.5) / scale


def widths_of(rounded_values, bits):
    """Bits that numbers need, by channel: the sign where one is negative, and those of the largest size."""
    bits, found = np.round(bits), []
    for column, f in zip(rounded_values.reshape(-1, len(bits)).T, bits, strict=True):
        integers = np.round(column * np.exp2(f)).astype(int)
        size = int(np.abs(integers).max())
        found.append(size.bit_length() + (integers.min() < 0) if size else 0)
    return np.array(found, float)


def prepared(seed=0, **options):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = keras.Sequential(
        [keras.Input((5,)), L.Dense(6, "relu", name="a"), L.Dense(3, name="b")]
    )
    for variable in model.weights:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    made = build_precision_model(read(model), **options)
    for variable in made.model.trainable_variables:
        if variable.name.endswith("bits"):
            variable.assign(rng.uniform(-0.9, 4.4, variable.shape))
    return model, made


def test_powers_are_exact():
    exponents = np.arange(-32, 33).astype("float32")
    np.testing.assert_array_equal(
        to_numpy(power_of_two(exponents)), np.exp2(exponents, dtype=float)
    )


@given(st.lists(st.integers(0, 4095), min_size=1, max_size=20))
def test_leading_bits_are_those_of_integers(integers):
    found = to_numpy(leading_bits(np.array(integers, "float32")))
    assert found.tolist() == [each.bit_length() for each in integers]


@pytest.mark.parametrize("by_channel", [True, False])
def test_outputs_are_those_of_rounded_numbers(by_channel):
    model, made = prepared(by_channel=by_channel)
    X = np.random.default_rng(1).normal(size=(40, 5)).astype("float32")
    z = X.astype(float)
    for name in ("a", "b"):
        wrapper, source = made.weights[name], made.formats[name]
        z = rounded(z if name == "a" else np.maximum(z, 0), to_numpy(source.bits))
        kernel, bias = map(to_numpy, model.get_layer(name).weights)
        z = z @ rounded(kernel, to_numpy(wrapper.bits[0])) + bias
    np.testing.assert_allclose(outputs_of(made.model, X), z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("price", [0.0, 0.01])
def test_a_step_is_that_of_the_formulas(price, by_channel):
    """Plain gradient descent by 1, so that the change of a variable is its gradient."""
    model, made = prepared(by_channel=by_channel)
    made.price.value.assign(price)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 5)).astype("float32")
    y = rng.normal(size=(30, 3)).astype("float32")
    W, b, fw, fa = {}, {}, {}, {}
    for name in ("a", "b"):
        W[name], b[name] = map(to_numpy, model.get_layer(name).weights)
        fw[name] = to_numpy(made.weights[name].bits[0])
        fa[name] = to_numpy(made.formats[name].bits)

    received = {"a": X.astype(float)}
    entered, q = {}, {}
    for name in ("a", "b"):
        q[name] = rounded(W[name], fw[name])
        entered[name] = rounded(received[name], fa[name])
        z = entered[name] @ q[name] + b[name]
        received["b" if name == "a" else "out"] = np.maximum(z, 0) if name == "a" else z
    g = 2 * (received["out"] - y) / y.size
    expected, loss = {}, np.mean((received["out"] - y) ** 2)
    for name in ("b", "a"):
        integers = np.abs(q[name]) * np.exp2(np.round(fw[name]))
        bits = np.array([int(m).bit_length() for m in integers.ravel()]).reshape(integers.shape)
        widths = np.broadcast_to(widths_of(entered[name], fa[name]), W[name].shape[:1])
        widths = widths[:, None]
        loss += price * (bits * widths).sum()
        dq = entered[name].T @ g
        expected[f"W {name}"] = dq * (integers > 0)
        expected[f"fw {name}"] = LN2 * (W[name] - q[name]) * dq + price * widths * (integers > 0)
        expected[f"b {name}"] = g.sum(0)
        back = g @ q[name].T
        by_entry = (LN2 * (received[name] - entered[name]) * back).sum(0)
        by_entry += price * (widths[:, 0] > 0) * bits.sum(1)
        expected[f"fa {name}"] = by_entry if by_channel else by_entry.sum(keepdims=True)
        g = back * (received["b"] > 0) if name == "b" else None

    engine = make_engine(made.model, "mse", keras.optimizers.SGD(1.0))
    np.testing.assert_allclose(engine.step(X, y), loss, rtol=1e-5)
    for name in ("a", "b"):
        wrapper = made.weights[name]
        kernel, bias = (to_numpy(each) for each in wrapper.layer.weights)
        for key, before, after in (
            ("W", W, kernel),
            ("b", b, bias),
            ("fw", fw, to_numpy(wrapper.bits[0])),
            ("fa", fa, to_numpy(made.formats[name].bits)),
        ):
            change = before[name] - after
            np.testing.assert_allclose(
                change, expected[f"{key} {name}"], rtol=2e-4, atol=2e-5, err_msg=f"{key} {name}"
            )


def test_a_weight_at_zero_is_held_until_its_bits_grow():
    _, made = prepared()
    kernel, bits = made.weights["a"].kernels[0].variable, made.weights["a"].bits[0]
    kernel.assign(np.full(kernel.shape, 0.3))
    bits.assign(np.zeros(bits.shape))
    X = np.ones((8, 5), "float32")
    engine = make_engine(made.model, "mse", keras.optimizers.SGD(0.1))
    for _ in range(3):
        engine.step(X, np.ones((8, 3), "float32"))
    np.testing.assert_array_equal(to_numpy(kernel), np.full(kernel.shape, np.float32(0.3)))
    bits.assign(np.ones(bits.shape))
    zero = outputs_of(made.model, X)
    bits.assign(np.full(bits.shape, -1.0))
    assert not np.allclose(outputs_of(made.model, X), zero)


def test_inputs_saturate_where_asked_for():
    _, made = prepared(limits={0: np.full(5, 2.0)})
    made.formats["a"].bits.assign(np.full(5, 2.0))
    found = to_numpy(made.formats["a"](np.array([[9.0, -9.0, 1.9, -1.9, 0.3]], "float32")))
    np.testing.assert_array_equal(found, [[1.75, -2.0, 1.75, -2.0, 0.25]])


IMAGE = (6, 6, 4)
LAYERS = {
    "Conv1D": ((8, 3), lambda: L.Conv1D(4, 3, name="layer")),
    "Conv2D": (IMAGE, lambda: L.Conv2D(3, 3, name="layer")),
    "Conv3D": ((4, 4, 4, 2), lambda: L.Conv3D(3, 2, name="layer")),
    "DepthwiseConv2D": (IMAGE, lambda: L.DepthwiseConv2D(3, depth_multiplier=2, name="layer")),
    "Conv2DTranspose": (IMAGE, lambda: L.Conv2DTranspose(3, 2, name="layer")),
    "EinsumDense": ((4, 6), lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), name="layer")),
    "Dense on sequences": ((4, 6), lambda: L.Dense(3, name="layer")),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_price_is_bits_of_weights_times_bits_of_their_inputs(kind):
    """Whichever axes a kernel has: each weight pays for the width of the channel that it multiplies."""
    shape, make = LAYERS[kind]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), make()])
    made = build_precision_model(read(model))
    wrapper, source = made.weights["layer"], made.formats["layer"]
    kernel = wrapper.kernels[0].variable
    rng = np.random.default_rng(0)
    widths = rng.integers(1, 9, source.channels).astype("float32")
    source.widths.assign(widths)
    X = np.zeros((1, *shape), "float32")
    channels = np.zeros(kernel.shape, int)
    weights = rng.normal(size=kernel.shape)
    for channel in range(shape[-1]):  # which weights an input of one channel meets
        X[...] = 0
        X[..., channel] = 1.0
        for place in np.ndindex(*kernel.shape):
            single = np.zeros(kernel.shape)
            single[place] = 1.0
            kernel.assign(single)
            if np.any(to_numpy(wrapper.layer(X))):
                channels[place] = channel
    kernel.assign(weights)
    bits = to_numpy(wrapper.bits[0])
    integers = np.abs(rounded(weights.astype("float32"), bits)) * np.exp2(np.round(bits))
    leading = np.array([int(m).bit_length() for m in integers.ravel()]).reshape(integers.shape)
    found = to_numpy(wrapper.products[0].count_bits(integers.astype("float32")))
    np.testing.assert_allclose(found, (leading * widths[channels]).sum(), rtol=1e-6)


def test_what_cannot_be_rounded_is_named_with_the_reason():
    layers = [
        L.SeparableConv1D(4, 2, name="conv"),
        L.Flatten(),
        L.Dense(2, name="out"),
    ]
    made = build_precision_model(read(keras.Sequential([keras.Input((4, 3)), *layers])))
    assert list(made.weights) == ["out"] and list(made.skipped) == ["conv"]
    assert "what each of its kernels multiplies" in made.skipped["conv"]


def test_shared_layers_and_nested_models_are_rounded_once():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, "relu", name="in")], name="block")
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    shared = L.Dense(4, name="shared")
    x = L.Add()([shared(first), shared(second)])
    model = keras.Model([first, second], L.Dense(2, name="out")(inner(x)))
    made = build_precision_model(read(model), weight_bits=14.0, tensor_bits=14.0)
    assert set(made.weights) == {"shared", "in", "out"}
    assert made.weights["shared"].instances == (2,)
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(9, 4)).astype("float32") for _ in range(2)]
    np.testing.assert_allclose(outputs_of(made.model, X), outputs_of(model, X), atol=1e-2)


def test_a_flattened_tensor_has_the_channels_that_it_had():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(3, 3, activation="relu", name="conv"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(4, name="dense"),
        ]
    )
    made = build_precision_model(read(model))
    assert made.formats["dense"].channels == 3 and made.formats["conv"].channels == 2
    assert made.formats["dense"].name == "conv_format"
    assert made.weights["conv"].instances == (16,) and made.weights["dense"].instances == (1,)


def test_training_makes_the_loss_smaller_and_compiles_once():
    _, made = prepared()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 5)).astype("float32")
    y = np.tanh(X @ rng.normal(size=(5, 3))).astype("float32")
    engine = make_engine(made.model, "mse", keras.optimizers.Adam(0.01))
    losses = [engine.train_epoch(Data(X, y), np.arange(256), 64) for _ in range(10)]
    compiled = engine.compilations
    made.price.value.assign(1e-3)
    engine.train_epoch(Data(X, y), np.arange(256), 64)
    assert losses[-1] < 0.8 * losses[0] and engine.compilations == compiled
