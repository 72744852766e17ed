"""Units that are tied to others: branches, sums, cascades, images, nested models."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.marks import ON_ONE_BACKEND

from .cases import assert_same_function, mlp, randomize, reduced_and_checked, widths, zero

pytestmark = ON_ONE_BACKEND


def test_concatenation_of_branches_and_several_inputs_and_outputs():
    one, two = keras.Input((4,), name="one"), keras.Input((5, 5, 1), name="two")
    a = layers.Dense(6, "tanh", name="a")(one)
    b = layers.Conv2D(3, 2, activation="elu", name="b")(two)
    flat = layers.Flatten()(layers.LeakyReLU()(b))
    both = layers.Concatenate()([a, flat, one])
    hidden = layers.Dense(7, "relu", name="hidden")(both)
    first = layers.Dense(2, name="first")(hidden)
    second = layers.Dense(3, "softmax", name="second")(layers.Concatenate()([hidden, a]))
    model = randomize(keras.Model([one, two], {"x": first, "y": second}))
    zero(model, a=[1, 5], b=[0], hidden=[2, 3, 4], first=[0], second=[1])
    reduced = reduced_and_checked(model)
    assert widths(reduced) == {"a": 4, "b": 2, "hidden": 4, "first": 2, "second": 3}
    assert reduced.get_layer("hidden").kernel.shape[0] == 4 + 2 * 16 + 4
    assert set(reduced.output) == {"x", "y"}
    assert [x.name for x in reduced.inputs] == ["one", "two"]


def test_unit_that_is_also_an_output_stays():
    inputs = keras.Input((4,))
    a = layers.Dense(5, "tanh", name="a")(inputs)
    b = layers.Dense(5, "tanh", name="b")(a)
    model = randomize(keras.Model(inputs, [layers.Dense(2, name="out")(b), a]))
    zero(model, a=[0], b=[0, 1])
    assert widths(reduced_and_checked(model)) == {"a": 5, "b": 3, "out": 2}


@pytest.mark.parametrize("merge", [layers.Add, layers.Average, layers.Multiply, layers.Maximum])
def test_residual_units_go_only_together(merge):
    inputs = keras.Input((4,))
    a = layers.Dense(6, "sigmoid", name="a")(inputs)
    b = layers.Dense(6, "tanh", name="b")(a)
    total = layers.ReLU()(layers.BatchNormalization()(merge()([a, b])))
    model = randomize(keras.Model(inputs, layers.Dense(3, name="out")(total)))
    zero(model, a=[0, 1, 2], b=[1, 2, 5])
    assert widths(reduced_and_checked(model)) == {"a": 4, "b": 4, "out": 3}
    assert plan_reduction(model).removed == {"a": [1, 2], "b": [1, 2]}
    assert plan_reduction(model).kept.keys() == {"a", "b"}


def test_convolutional_residual_block():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 1, activation="relu", name="stem")(inputs)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="c1")(x)
    y = layers.Conv2D(4, 3, padding="same", name="c2")(y)
    total = layers.ReLU()(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.Dense(3, name="out")(layers.GlobalMaxPooling2D()(total)))
    zero(randomize(model), stem=[1, 2], c1=[0, 3], c2=[1, 2])
    for name, value in (("stem", -1.0), ("c1", -1.0)):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel, np.full_like(bias, value)])
    assert widths(reduced_and_checked(model)) == {"stem": 2, "c1": 2, "c2": 2, "out": 3}


def test_unit_that_nobody_reads_goes_and_takes_its_own_readers_along():
    model = mlp(normalized=True)
    kernel, bias = model.get_layer("out").get_weights()
    kernel[[2, 5]] = 0
    model.get_layer("out").set_weights([kernel, bias])
    kernel, bias = model.get_layer("b").get_weights()
    kernel[4] = 0
    kernel[4, [2, 5]] = 1.5  # only the units that nobody reads listen to this one
    model.get_layer("b").set_weights([kernel, bias])
    assert widths(reduced_and_checked(model)) == {"a": 8, "b": 6, "out": 4}
    assert plan_reduction(model).removed == {"a": [4], "b": [2, 5]}


def test_unit_that_sees_only_constants_is_one():
    model = zero(mlp(normalized=False), a=[0, 1])
    kernel, bias = model.get_layer("b").get_weights()
    kernel[2:, 6] = 0
    model.get_layer("b").set_weights([kernel, bias])
    assert widths(reduced_and_checked(model)) == {"a": 7, "b": 7, "out": 4}


def test_one_unit_stays():
    inputs = keras.Input((4,))
    a = layers.Dense(3, "tanh", name="a")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="out")(layers.Concatenate()([a, inputs])))
    zero(randomize(model), a=[0, 1, 2])
    assert widths(reduced_and_checked(model))["a"] == 1
    assert "at least one" in plan_reduction(model).kept["a"]


def test_shared_layer_with_weights_blocks_and_one_without_does_not():
    inputs = keras.Input((4,))
    shared, relu = layers.Dense(4, name="shared"), layers.ReLU()
    x = relu(layers.Dense(4, name="a")(inputs))
    x = relu(layers.Dense(5, name="b")(shared(shared(x))))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="out")(x)))
    zero(model, a=[0], shared=[1], b=[2, 3])
    assert widths(reduced_and_checked(model)) == {"a": 4, "shared": 4, "b": 3, "out": 2}
    assert "several times" in plan_reduction(model).kept["a"]


def test_nested_models_are_reduced_inside():
    inner_in = keras.Input((6,))
    x = layers.Dense(5, "tanh", name="d")(inner_in)
    inner = keras.Model(inner_in, layers.Dense(4, name="e")(x), name="block")
    inputs = keras.Input((3,))
    outer = layers.Dense(6, "relu", name="a")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="out")(inner(outer)))
    randomize(model)
    zero(model, a=[0])
    zero(inner, d=[1, 2], e=[0])
    plan = plan_reduction(model)
    assert plan.removed == {"block/d": [1, 2]}
    assert "'block'" in plan.kept["a"] and "returns" in plan.kept["block/e"]
    reduced = reduce_model(model)
    assert_same_function(model, reduced)
    assert widths(reduced.get_layer("block")) == {"d": 3, "e": 4}
    assert widths(inner) == {"d": 5, "e": 4}


def test_sequences_and_depthwise_convolutions():
    inputs = keras.Input((8, 3))
    x = layers.Conv1D(5, 3, padding="causal", activation="relu", name="c1")(inputs)
    x = layers.DepthwiseConv1D(2, depth_multiplier=2, activation="tanh", name="dw")(x)
    x = layers.Dense(6, "sigmoid", name="d1")(x)
    x = layers.PReLU(name="prelu", shared_axes=[1])(x)
    x = layers.Reshape((-1,))(layers.MaxPooling1D(2)(x))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="out")(x)))
    zero(model, c1=[0, 3], d1=[5])
    reduced = reduced_and_checked(model)
    assert reduced.get_layer("dw").kernel.shape == (2, 3, 2)
    assert (widths(reduced)["c1"], widths(reduced)["d1"]) == (3, 5)
    assert reduced.get_layer("prelu").alpha.shape == (1, 5)


def test_depthwise_multiples_go_only_together():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 2, activation="relu", name="c1"),
            layers.DepthwiseConv2D(2, depth_multiplier=2, padding="same", name="dw"),
            layers.Flatten(),
            layers.Dense(2, name="out"),
        ]
    )
    randomize(model)
    kernel, bias = model.get_layer("dw").get_weights()
    kernel[:, :, 0, :] = 0  # both units of channel 0
    kernel[:, :, 1, 0] = 0  # one of the two of channel 1
    model.get_layer("dw").set_weights([kernel, bias])
    assert widths(reduced_and_checked(model)) == {"c1": 2, "dw": 2, "out": 2}


@pytest.mark.parametrize(("bias", "left"), [(-1.0, 8), (None, 12)])
def test_dense_into_image(bias, left):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(12, "relu", name="a"),
            layers.Reshape((2, 2, 3)),
            layers.UpSampling2D(2),
            layers.Cropping2D(1),
            layers.Conv2D(2, 2, name="out"),
        ]
    )
    zero(randomize(model), a=[1, 4, 7, 10, 2])  # all of channel 1, one of channel 2
    if bias is not None:  # else the channel differs from pixel to pixel
        kernel, biases = model.get_layer("a").get_weights()
        model.get_layer("a").set_weights([kernel, np.full_like(biases, bias)])
    assert widths(reduced_and_checked(model)) == {"a": left, "out": 2}
