from __future__ import annotations

import keras
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.layers import (
    Kernel,
    LayerFamily,
    family_of,
    forget_layer,
    reason_to_skip,
    register_layer,
)
from fabricfit.layers.regularizers import DenseRegularizer
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.network.reader import read
from tests.common import L, lenet, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_a_sequential_model_is_described_layer_by_layer():
    found = get_attributes_from_keras_model(lenet())
    assert list(found) == ["conv1", "pool", "conv2", "flatten", "fc", "out"]
    conv = found["conv2"]
    assert conv.layer_type is keras.layers.Conv2D
    assert (conv.weight_shape, conv.input_shape, conv.output_shape) == (
        (2, 2, 4, 6),
        (3, 3, 4),
        (2, 2, 6),
    )
    assert conv.inbound_layers == ["pool"]
    assert found["pool"].weight_shape == () and not conv.optimizable
    # A filter feeds one place of conv2's 2 x 2 kernel each, and 2 x 2 rows of fc behind the Flatten.
    assert found["conv1"].consumers == {"conv2": 4}
    assert conv.consumers == {"fc": 4}
    assert conv.consumer_attributes["fc"] is found["fc"]


def test_branches_keep_the_units_that_they_share():
    inputs = keras.Input((4,))
    a, b = L.Dense(3, name="a")(inputs), L.Dense(3, name="b")(inputs)
    both = L.Concatenate()([L.Add(name="add")([a, b]), a])
    found = get_attributes_from_keras_model(keras.Model(inputs, L.Dense(2, name="c")(both)))
    assert found["a"].consumers == {"c": 1} and found["b"].consumers == {}
    assert found["add"].inbound_layers == ["a", "b"]


def test_a_unit_that_is_an_output_feeds_no_one():
    inputs = keras.Input((4,))
    a = L.Dense(3, name="a")(inputs)
    model = keras.Model(inputs, [a, L.Dense(2, name="b")(a)])
    assert get_attributes_from_keras_model(model)["a"].consumers == {}
    assert read(model).output_layers == {"a", "b"}


def test_nested_layers_go_by_name_or_by_path():
    block = keras.Sequential(
        [keras.Input((4,)), L.Dense(4, name="d"), L.Dense(4, name="e")], name="block"
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Dense(2, name="d")(block(inputs)))
    assert [n for n, layer in read(model).layers.items() if layer.weights] == ["block/d", "e", "d"]
    assert {name: tuple(k.shape) for name, k in read(model).kernels.items()} == {
        "block/d": (4, 4),
        "e": (4, 4),
        "d": (4, 2),
    }
    assert read(model).output_layers == {"d"}
    assert read(keras.Model(inputs, block(inputs))).output_layers == {"e"}


def test_a_shared_layer_appears_once_and_feeds_no_one():
    inputs = keras.Input((4,))
    shared = L.Dense(4, name="shared")
    model = keras.Model(inputs, L.Dense(2, name="out")(shared(L.ReLU()(shared(inputs)))))
    found = get_attributes_from_keras_model(model)
    assert list(read(model).kernels) == ["shared", "out"]
    assert found["shared"].consumers == {}


def test_layers_with_weights_but_no_kernel_are_no_obstacle():
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            L.LayerNormalization(name="norm"),
            L.LSTM(4, name="lstm"),
            L.BatchNormalization(),
            L.Dense(2, name="out"),
        ]
    )
    assert list(read(model).kernels) == ["lstm/kernel", "lstm/recurrent_kernel", "out"]
    assert "LayerNormalization is not a supported layer type" in reason_to_skip(model.layers[0])
    found = get_attributes_from_keras_model(model)
    assert found["lstm"].weight_shape == () and found["lstm/kernel"].layer_name == "lstm"
    assert found["lstm/recurrent_kernel"].weight_shape == (4, 16)
    assert found["lstm/recurrent_kernel"].axes.n_units == 4


def test_an_unbuilt_model_is_refused_with_the_way_out():
    with pytest.raises(InvalidInputError, match="give it an Input"):
        get_attributes_from_keras_model(keras.Sequential([L.Dense(3)]))


def test_an_hls4ml_configuration_is_read_per_layer():
    model = mlp()
    config = {
        "IOType": "io_stream",
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"},
        "LayerName": {"fc2": {"Precision": {"weight": "fixed<12,2>"}, "ReuseFactor": 5}},
    }
    with pytest.warns(UserWarning, match="fc2"):
        found = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    first, second = (found[name].hls4ml for name in ("fc1", "fc2"))
    assert (first.n_in, first.n_out, first.reuse_factor) == (6, 8, 2)
    assert (first.io_type, first.weight_precision.width) == ("io_stream", 16)
    # 5 is not legal for 8 x 8: hls4ml takes the nearest, 4.
    assert (second.reuse_factor, second.weight_precision.width) == (4, 12)


class Twice(keras.layers.Dense):
    """A layer of somebody's own."""


def test_a_user_can_add_a_layer_type():
    class TwiceFamily(LayerFamily):
        handles = (Twice,)
        regularizer = DenseRegularizer

        def kernels(self, layer):
            return (Kernel(layer.kernel, layer),)

    model = keras.Sequential([keras.Input((4,)), Twice(3)])
    assert "not a supported layer type" in reason_to_skip(model.layers[0])
    family = register_layer(TwiceFamily())
    try:
        assert family_of(model.layers[0]) is family
        assert reason_to_skip(model.layers[0]) == ""
    finally:
        forget_layer(family)


@pytest.mark.parametrize(
    "layer, reason",
    [
        (L.Conv2D(4, 3, groups=2), "grouped convolution"),
        (L.LayerNormalization(), "LayerNormalization is not a supported"),
        (
            L.TimeDistributed(L.LayerNormalization()),
            "the LayerNormalization in it is not a supported",
        ),
        (L.TimeDistributed(L.Conv1D(4, 3, groups=2)), "Conv1D in it: it is a grouped convolution"),
        (L.Conv2D(4, 3, trainable=False), "frozen"),
        (L.ReLU(), "no weights"),
    ],
)
def test_every_refusal_says_why(layer, reason):
    keras.Sequential([keras.Input((8, 8, 4)), layer])
    assert reason in reason_to_skip(layer)
