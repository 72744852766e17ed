"""Separable convolutions become two layers: the same function, of products with a tensor between them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.network.configuration import carry_sections, open_configuration
from fabricfit.network.plain_layers import list_quantizing, make_plain
from fabricfit.network.reader import read
from tests.common import L, outputs_of, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

RNG = np.random.default_rng(0)

OPTIONS = [
    {"padding": "valid", "activation": "relu"},
    {"padding": "same", "strides": 2, "use_bias": False},
    {"padding": "same", "dilation_rate": 2, "depth_multiplier": 2, "activation": "tanh"},
    {"padding": "valid", "depth_multiplier": 3, "strides": 2},
]


def randomized(model):
    for variable in model.weights:
        variable.assign(RNG.normal(0, 0.5, variable.shape))
    return model


def separable(name="sep", **options):
    return L.SeparableConv2D(5, 3, name=name, **options)


def two_calls():
    shared = L.SeparableConv1D(4, 3, padding="same", activation="relu", name="sep")
    given = keras.Input((8, 4), name="given")
    x = L.Flatten(name="flat")(shared(shared(given)))
    return randomized(keras.Model(given, L.Dense(2, name="out")(x)))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rank", [1, 2])
def test_a_separable_convolution_is_two(options, rank):
    layer = getattr(L, f"SeparableConv{rank}D")(5, 3, name="sep", **options)
    model = randomized(keras.Sequential([keras.Input((9,) * rank + (3,)), layer]))
    before = weights_of(model)
    plain = make_plain(read(model))
    X = RNG.normal(size=(7, *(9,) * rank, 3)).astype("float32")
    made = plain.network.model
    np.testing.assert_allclose(outputs_of(made, X), outputs_of(model, X), rtol=1e-5, atol=1e-5)
    kinds = [type(each).__name__ for each in made.layers[1:]]
    assert kinds == [f"DepthwiseConv{rank}D", f"Conv{rank}D"]
    assert [each.name for each in made.layers[1:]] == ["sep_depthwise", "sep"]
    assert plain.parts == {"sep": ("sep_depthwise", "sep")}
    assert type(model.layers[0]) is type(layer) and not list_quantizing(plain.network)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_channels_first_stay_first():
    layer = separable(data_format="channels_first", padding="same")
    model = keras.Sequential([keras.Input((3, 6, 6)), layer])
    made = make_plain(read(model)).network.model
    assert [each.data_format for each in made.layers[1:]] == ["channels_first"] * 2
    assert made.output_shape == model.output_shape


def test_a_layer_in_several_places_stays_one():
    model = two_calls()
    made = make_plain(read(model)).network
    X = RNG.normal(size=(5, 8, 4)).astype("float32")
    np.testing.assert_allclose(
        outputs_of(made.model, X), outputs_of(model, X), rtol=1e-5, atol=1e-5
    )
    assert made.times_called["sep"] == made.times_called["sep_depthwise"] == 2


def test_a_layer_in_a_nested_model_is_found():
    inner = keras.Sequential([keras.Input((6, 6, 3)), separable(), separable("sep2")], name="block")
    start = keras.Input((6, 6, 3))
    model = randomized(keras.Model(start, L.Flatten()(inner(start))))
    made = make_plain(read(model)).network
    X = RNG.normal(size=(5, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(
        outputs_of(made.model, X), outputs_of(model, X), rtol=1e-5, atol=1e-5
    )
    assert {"sep_depthwise", "sep", "sep2_depthwise", "sep2"} <= set(made.layers)


def test_options_names_and_frozen_layers_are_kept():
    kept = {
        "depthwise_regularizer": keras.regularizers.L1(0.1),
        "pointwise_constraint": keras.constraints.NonNeg(),
        "bias_regularizer": keras.regularizers.L2(0.2),
    }
    taken = L.Activation("relu", name="sep_depthwise")
    model = keras.Sequential(
        [keras.Input((6, 6, 3)), taken, separable(**kept, trainable=False), L.Flatten()]
    )
    (first, second), layers = make_plain(read(model)).parts["sep"], {}
    for layer in make_plain(read(model)).network.model.layers:
        layers[layer.name] = layer
    assert first != "sep_depthwise" and second == "sep"
    assert layers[first].depthwise_regularizer is kept["depthwise_regularizer"]
    assert layers[second].kernel_constraint is kept["pointwise_constraint"]
    assert layers[second].bias_regularizer is kept["bias_regularizer"]
    assert not layers[first].trainable and not layers[second].trainable


def test_what_is_plain_stays():
    network = read(keras.Sequential([keras.Input((4,)), L.Dense(3, name="out")]))
    plain = make_plain(network)
    assert plain.network is network and not plain.parts and not list_quantizing(network)


def test_sections_go_to_the_layers_in_the_place():
    model = keras.Sequential([keras.Input((6, 6, 3)), separable(activation="relu"), L.Flatten()])
    network = read(model)
    config = open_configuration(
        {
            "LayerName": {
                "sep": {"Strategy": "Latency", "Precision": {"pointwise": "fixed<8,2>"}},
                "sep_pointwise": {"Strategy": "Resource"},
                "sep_relu": {"Precision": {"result": "fixed<8,2>"}},
            },
            "LayerType": {"SeparableConv2D": {"ReuseFactor": 1}},
        },
        network,
    )
    plain = make_plain(network)
    carry_sections(config, network, plain.network, plain.parts)
    said = {"Strategy": "Latency", "ReuseFactor": 1}
    only = open_configuration(
        {"LayerName": {"sep": {"Precision": {"pointwise": "fixed<8,2>"}}}}, network
    )
    carry_sections(only, network, plain.network, plain.parts)
    assert only == {"LayerName": {"sep": {}}}
    assert config["LayerName"]["sep"] == config["LayerName"]["sep_depthwise"] == said
    assert "sep_pointwise" not in config["LayerName"]
    open_configuration(config, plain.network)
