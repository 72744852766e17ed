"""What must not be removed stays, and the plan says why."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.marks import ON_ONE_BACKEND

from .cases import assert_same_function, convnet, mlp, randomize, reduced_and_checked, widths, zero

pytestmark = ON_ONE_BACKEND


def test_output_layer_is_never_reduced():
    model = zero(mlp(), out=[0, 2], a=[5])
    assert widths(reduced_and_checked(model)) == {"a": 8, "b": 8, "out": 4}
    plan = plan_reduction(model)
    assert "out" not in plan.removed
    assert "mixes units" in plan.kept["out"] and "2 zero unit" in plan.kept["out"]


def test_units_before_an_output_activation_stay():
    inputs = keras.Input((5,))
    x = layers.Dense(4, name="a")(inputs)
    model = randomize(keras.Model(inputs, layers.ReLU()(layers.BatchNormalization()(x))))
    zero(model, a=[1])
    assert widths(reduced_and_checked(model)) == {"a": 4}
    assert "returns" in plan_reduction(model).kept["a"]


@pytest.mark.parametrize("softmax", [layers.Softmax, lambda: layers.Activation("softmax")])
def test_hidden_softmax_blocks(softmax):
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(6, name="a"), softmax(), layers.Dense(3, name="out")]
    )
    zero(randomize(model), a=[1, 2])
    assert widths(reduced_and_checked(model)) == {"a": 6, "out": 3}
    assert "softmax" in plan_reduction(model).kept["a"]


def test_hidden_softmax_inside_the_layer_blocks_its_own_units_only():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, "tanh", name="a"),
            layers.Dense(6, "softmax", name="b"),
            layers.Dense(3, name="out"),
        ]
    )
    zero(randomize(model), a=[3], b=[1, 2])
    assert widths(reduced_and_checked(model)) == {"a": 5, "b": 6, "out": 3}


def test_constant_before_a_padded_convolution_stays():
    model = zero(convnet(padding="same", activation="sigmoid"), c1=[0, 4], c2=[1])
    assert widths(reduced_and_checked(model)) == {"c1": 5, "c2": 5, "d1": 5, "out": 3}
    assert "padding='same'" in plan_reduction(model).kept["c1"]


def test_zero_before_a_padded_convolution_goes():
    model = zero(convnet(padding="same"), c1=[0, 4])
    norm = model.get_layer("bn")
    gamma, beta, mean, variance = norm.get_weights()
    # Normalization leaves less than 0 for filter 0 (which ReLU makes 0) and more for filter 4.
    bias = model.get_layer("c1").get_weights()[1]
    beta[0] = -5 - (bias[0] - mean[0]) / np.sqrt(variance[0] + norm.epsilon) * gamma[0]
    beta[4] = 5 - (bias[4] - mean[4]) / np.sqrt(variance[4] + norm.epsilon) * gamma[4]
    norm.set_weights([gamma, beta, mean, variance])
    assert widths(reduced_and_checked(model))["c1"] == 4
    assert plan_reduction(model).removed == {"c1": [0]}


def test_zero_padding_layer():
    def build(bias):
        model = keras.Sequential(
            [
                keras.Input((5, 5, 2)),
                layers.Conv2D(4, 2, activation="relu", name="c1"),
                layers.ZeroPadding2D(1),
                layers.Conv2D(3, 2, name="c2"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2, name="out"),
            ]
        )
        zero(randomize(model), c1=[1], c2=[0])
        kernel, values = model.get_layer("c1").get_weights()
        values[1] = bias
        model.get_layer("c1").set_weights([kernel, values])
        return model

    assert widths(reduced_and_checked(build(-0.5))) == {"c1": 3, "c2": 2, "out": 2}
    assert widths(reduced_and_checked(build(+0.5))) == {"c1": 4, "c2": 2, "out": 2}


class Halved(layers.Dense):
    """A subclass may do anything."""

    def call(self, inputs, training=None):
        return super().call(inputs) / keras.ops.sum(keras.ops.ones_like(inputs)[0])


class Mix(layers.Layer):
    def call(self, inputs):
        return keras.ops.cumsum(inputs, axis=-1)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    "blocker",
    [
        lambda: Mix(),
        lambda: Halved(5),
        lambda: layers.Lambda(lambda x: keras.ops.flip(x, -1), output_shape=(8,)),
        lambda: layers.LayerNormalization(),
        lambda: layers.Activation(lambda x: keras.ops.flip(x, -1)),
        lambda: layers.Reshape((4, 2)),
    ],
)
def test_unknown_layers_block(blocker):
    size = 8
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(size, "sigmoid", name="a"),
            blocker(),
            layers.Flatten(),
            layers.Dense(5, name="b"),
            layers.Dense(2, name="out"),
        ]
    )
    zero(randomize(model), a=[1], b=[3])
    # Reshape to (4, 2) ties units 1, 3, 5, 7 together, of which one alone is zero.
    assert widths(reduced_and_checked(model))["a"] == size
    assert widths(reduce_model(model))["b"] == 4


def test_operation_outside_a_layer_blocks():
    inputs = keras.Input((4,))
    a = layers.Dense(5, "tanh", name="a")(inputs)
    b = layers.Dense(4, "tanh", name="b")(keras.ops.flip(a, -1) * 2)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="out")(b)))
    zero(model, a=[0], b=[0])
    before = len(model.operations[2]._inbound_nodes)
    reduced = reduce_model(model)
    assert_same_function(model, reduced)
    assert widths(reduced) == {"a": 5, "b": 3, "out": 2}
    assert len(model.operations[2]._inbound_nodes) == before


def test_dropout_that_is_always_on_blocks():
    inputs = keras.Input((4,))
    a = layers.Dense(5, "tanh", name="a")(inputs)
    dropped = layers.Dropout(0.5)(a, training=True)
    model = zero(randomize(keras.Model(inputs, layers.Dense(2, name="out")(dropped))), a=[0])
    assert widths(reduce_model(model))["a"] == 5


def test_masked_steps_block():
    inputs = keras.Input((3, 4))
    x = layers.Masking()(inputs)
    x = layers.Multiply()([layers.Dense(5, "tanh", name="a")(x), layers.Dense(5, name="b")(x)])
    outputs = layers.Dense(2, name="out")(layers.GlobalAveragePooling1D()(x))
    model = zero(randomize(keras.Model(inputs, outputs)), a=[0], b=[0])
    assert widths(reduced_and_checked(model)) == {"a": 5, "b": 5, "out": 2}


def test_channels_first_blocks():
    model = keras.Sequential(
        [
            keras.Input((2, 6, 5)),
            layers.Conv2D(4, 2, data_format="channels_first", name="c1"),
            layers.Flatten(data_format="channels_first"),
            layers.Dense(2, name="out"),
        ]
    )
    zero(randomize(model), c1=[0])
    assert plan_reduction(model).removed == {}


def test_grouped_convolution_blocks():
    model = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            layers.Conv2D(4, 2, name="c1"),
            layers.Conv2D(4, 2, groups=2, name="c2"),
            layers.Flatten(),
            layers.Dense(2, name="out"),
        ]
    )
    zero(randomize(model), c1=[0], c2=[1])
    assert plan_reduction(model).removed == {}
    assert "groups" in plan_reduction(model).kept["c1"]
