"""Reduction keeps the function and removes exactly what it may."""

import logging
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.keras.reduction import ReductionPlan, plan_reduction, reduce_model

pytestmark = pytest.mark.keras


def randomize(model, seed=0):
    """Give every weight, biases and moving statistics included, a value of its own."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomize(layer, seed + 1)
            continue
        weights = [rng.normal(0, 0.5, w.shape).astype("float32") for w in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            weights[-1] = np.abs(weights[-1]) + 0.5
        if weights:
            layer.set_weights(weights)
    return model


def zero(model, **units):
    """Zero the kernels, not the biases, of the units named by layer."""
    for name, indices in units.items():
        layer = model.get_layer(name)
        kernel, *bias = layer.get_weights()
        kernel[..., indices] = 0
        layer.set_weights([kernel, *bias])
    return model


def inputs_of(model, seed=1, batch=6):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, 1.5, (batch, *x.shape[1:])).astype("float32") for x in model.inputs]
    return arrays if len(arrays) > 1 else arrays[0]


def outputs_of(model, x):
    results = keras.tree.flatten(model(x, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(y), np.float64) for y in results]


def assert_same_function(model, reduced, rtol=1e-5):
    x = inputs_of(model)
    expected, received = outputs_of(model, x), outputs_of(reduced, x)
    assert len(expected) == len(received)
    for a, b in zip(expected, received, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= rtol * max(np.abs(a).max(), 1e-30)
        assert np.ptp(a) > 1e-4  # a constant output would agree too easily


def widths(model):
    """Kernel columns by layer name."""
    return {
        layer.name: layer.kernel.shape[-1] for layer in model.layers if hasattr(layer, "kernel")
    }


def reduced_and_checked(model):
    """Reduce, and check everything that holds for any model."""
    before = [np.array(w) for w in model.get_weights()]
    config = model.get_config()
    plan = plan_reduction(model)
    reduced = reduce_model(model)
    assert_same_function(model, reduced)
    assert [layer.name for layer in reduced.layers] == [layer.name for layer in model.layers]
    for name, width in widths(model).items():
        removed = plan.removed.get(name, [])
        assert widths(reduced)[name] == width - len(removed)
    assert model.get_config() == config
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not set(map(id, reduced.layers)) & set(map(id, model.layers))
    return reduced


def mlp(activation="relu", normalized=True, last="softmax", use_bias=True):
    stack = [keras.Input((7,))]
    for name, units in (("a", 9), ("b", 8)):
        stack.append(layers.Dense(units, use_bias=use_bias, name=name))
        if normalized:
            stack.append(layers.BatchNormalization(name=f"{name}_bn"))
        stack += [layers.Activation(activation, name=f"{name}_act"), layers.Dropout(0.3)]
    return randomize(keras.Sequential([*stack, layers.Dense(4, activation=last, name="out")]))


@pytest.mark.parametrize(
    ("activation", "normalized"),
    [("relu", True), ("tanh", True), ("sigmoid", False), ("gelu", False), ("linear", True)],
)
def test_mlp_loses_exactly_the_zeroed_neurons(activation, normalized):
    model = zero(mlp(activation, normalized), a=[0, 3, 8], b=[1])
    reduced = reduced_and_checked(model)
    assert isinstance(reduced, keras.Sequential)
    assert widths(reduced) == {"a": 6, "b": 7, "out": 4}
    assert plan_reduction(model).removed == {"a": [0, 3, 8], "b": [1]}


def test_activation_inside_the_layer_is_folded_too():
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(6, "sigmoid", name="a"), layers.Dense(2, name="out")]
    )
    reduced = reduced_and_checked(zero(randomize(model), a=[2, 4]))
    assert widths(reduced) == {"a": 4, "out": 2}


def test_consumer_without_bias_gets_one_only_where_it_is_needed():
    def build(use_bias):
        model = keras.Sequential(
            [
                keras.Input((5,)),
                layers.Dense(6, "relu", use_bias=use_bias, name="a"),
                layers.Dense(3, use_bias=False, name="out"),
            ]
        )
        model = zero(randomize(model), a=[1, 2])
        if use_bias:
            kernel, _ = model.get_layer("a").get_weights()
            model.get_layer("a").set_weights([kernel, np.full(6, 0.75, "float32")])
        return model

    assert reduced_and_checked(build(use_bias=True)).get_layer("out").use_bias
    reduced = reduced_and_checked(build(use_bias=False))
    assert not reduced.get_layer("out").use_bias
    assert widths(reduced) == {"a": 4, "out": 3}


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


def convnet(padding="valid", pool=layers.MaxPooling2D, activation="relu", use_bias=True):
    return randomize(
        keras.Sequential(
            [
                keras.Input((9, 8, 2)),
                layers.Conv2D(5, 3, use_bias=use_bias, name="c1"),
                layers.BatchNormalization(name="bn", center=use_bias),
                layers.Activation(activation),
                pool(2, padding="same"),
                layers.Conv2D(6, 2, padding=padding, activation=activation, name="c2"),
                layers.Flatten(),
                layers.Dense(5, activation, name="d1"),
                layers.Dense(3, "softmax", name="out"),
            ]
        )
    )


@pytest.mark.parametrize(
    ("pool", "activation"),
    [(layers.MaxPooling2D, "relu"), (layers.AveragePooling2D, "sigmoid")],
)
def test_convnet_loses_exactly_the_zeroed_filters(pool, activation):
    model = zero(convnet(pool=pool, activation=activation), c1=[0, 4], c2=[1, 2, 5], d1=[3])
    reduced = reduced_and_checked(model)
    assert widths(reduced) == {"c1": 3, "c2": 3, "d1": 4, "out": 3}
    assert reduced.get_layer("d1").kernel.shape[0] == model.get_layer("d1").kernel.shape[0] // 2


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


def test_precision_regularizers_and_trainability_are_kept():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, "relu", kernel_regularizer=keras.regularizers.L2(0.25), name="a"),
            layers.Dense(5, "relu", dtype="mixed_bfloat16", name="b"),
            layers.Dense(2, name="out"),
        ]
    )
    zero(randomize(model), a=[0, 1])
    model.get_layer("a").trainable = False
    reduced = reduce_model(model)
    assert reduced.get_layer("a").kernel_regularizer.get_config() == {"l2": 0.25}
    assert not reduced.get_layer("a").trainable and reduced.get_layer("b").trainable
    assert reduced.get_layer("b").dtype_policy.name == "mixed_bfloat16"
    assert widths(reduced)["a"] == 4
    assert_same_function(model, reduced, rtol=1e-2)


def test_untouched_layers_keep_their_state():
    inputs = keras.Input((4,))
    normalized = layers.Normalization(name="norm")
    x = layers.Dense(5, "relu", name="a")(normalized(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(2, name="out")(x)))
    normalized.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    zero(model, a=[1])
    assert widths(reduced_and_checked(model))["a"] == 4


class Ridge(keras.regularizers.Regularizer):
    """A user's regularizer that Keras does not know by name."""

    def __call__(self, x):
        return keras.ops.sum(keras.ops.square(x))

    def get_config(self):
        return {}


def test_the_users_own_regularizer_survives():
    def own(x):
        return keras.ops.sum(keras.ops.abs(x))

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, "relu", kernel_regularizer=Ridge(), name="a"),
            layers.Dense(5, bias_regularizer=own, name="b"),
            layers.Dense(2, name="out"),
        ]
    )
    zero(randomize(model), a=[0], b=[1])
    reduced = reduced_and_checked(model)
    assert isinstance(reduced.get_layer("a").kernel_regularizer, Ridge)
    assert reduced.get_layer("b").bias_regularizer is own
    assert widths(reduced) == {"a": 5, "b": 4, "out": 2}


def test_saved_and_loaded(tmp_path):
    model = zero(convnet(), c1=[0], c2=[1], d1=[0])
    reduced = reduce_model(model)
    reduced.save(tmp_path / "reduced.keras")
    loaded = keras.models.load_model(tmp_path / "reduced.keras")
    assert widths(loaded) == widths(reduced)
    (a,), (b,) = (outputs_of(m, inputs_of(model)) for m in (reduced, loaded))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_reduced_model_can_be_trained_further():
    reduced = reduce_model(zero(mlp(), a=[0, 1]))
    assert not reduced.compiled
    reduced.compile("sgd", "mse")
    x = inputs_of(reduced)
    before = reduced.get_weights()[0].copy()
    reduced.train_on_batch(x, np.zeros((len(x), 4), "float32"))
    assert not np.array_equal(before, reduced.get_weights()[0])


def test_compiled_model_with_any_loss_is_accepted():
    model = zero(mlp(), a=[0])
    model.compile("adam", loss=lambda y, p: keras.ops.mean(y - p))
    assert widths(reduce_model(model))["a"] == 8


def test_nothing_to_remove_gives_an_equal_copy():
    model = mlp()
    reduced = reduced_and_checked(model)
    for a, b in zip(model.get_weights(), reduced.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_reduction_finds_nothing():
    reduced = reduce_model(zero(convnet(), c1=[0, 2], c2=[1], d1=[0]))
    assert plan_reduction(reduced).removed == {}


def test_plan_reads_well_and_is_logged(caplog):
    model = zero(mlp(), a=[0, 3], out=[1])
    with caplog.at_level(logging.INFO, logger="fabricfit"):
        reduce_model(model)
    text = caplog.text
    assert "2 of 21 units" in text and "a: 9 -> 7" in text and "out: 4 -> 4" in text
    plan = plan_reduction(model)
    assert isinstance(plan, ReductionPlan) and plan.n_removed == 2
    assert plan.units == {"a": 9, "b": 8, "out": 4}


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


class OwnCall(keras.Model):
    def __init__(self):
        inputs = keras.Input((3,))
        super().__init__(inputs, layers.Dense(2)(inputs))

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs)


@pytest.mark.parametrize("build", [Subclassed, OwnCall])
def test_subclassed_model_is_refused(build):
    with pytest.raises(InvalidInputError, match=r"subclassed.*Received.*keras\.Model"):
        reduce_model(build())


def test_unbuilt_model_is_refused():
    with pytest.raises(InvalidInputError, match=r"not built.*build\(input_shape\)"):
        reduce_model(keras.Sequential([layers.Dense(3)]))


def test_something_else_is_refused():
    with pytest.raises(InvalidTypeError, match=r"keras\.Model"):
        reduce_model([layers.Dense(3)])


class Stubborn(layers.Layer):
    """A layer that cannot be made anew."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        return inputs * self.size

    def get_config(self):
        return super().get_config()


def test_layer_that_cannot_be_made_anew_is_named():
    model = keras.Sequential([keras.Input((3,)), Stubborn(2, name="own"), layers.Dense(2)])
    with pytest.raises(InvalidInputError, match=r"'own' \(Stubborn\).*get_config"):
        reduce_model(model)


ACTIVATIONS = st.sampled_from(["relu", "tanh", "sigmoid", "linear", "elu", "softmax"])

CONVOLUTIONS = st.fixed_dictionaries(
    {
        "filters": st.integers(1, 4),
        "padding": st.sampled_from(["same", "valid"]),
        "use_bias": st.booleans(),
        "normalized": st.booleans(),
        "activation": ACTIVATIONS,
        "pool": st.sampled_from([None, "MaxPooling2D", "AveragePooling2D"]),
    }
)
NEURONS = st.fixed_dictionaries({"activation": ACTIVATIONS, "use_bias": st.booleans()})


def build_chain(convolutions, join, neurons, seed):
    """Build a chain with random weights, of which random rows and columns are zero."""
    stack = [keras.Input((6, 6, 2))]
    for options in convolutions:
        keywords = {name: options[name] for name in ("padding", "use_bias")}
        stack.append(layers.Conv2D(options["filters"], 2, **keywords))
        stack += [layers.BatchNormalization()] * options["normalized"]
        stack.append(layers.Activation(options["activation"]))
        if options["pool"] is not None:
            stack.append(getattr(layers, options["pool"])(2, padding="same"))
    stack.append(getattr(layers, join)())
    stack += [layers.Dense(4, **options) for options in neurons]
    model = randomize(keras.Sequential([*stack, layers.Dense(3)]), seed)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel, *bias = layer.get_weights()
            kernel[..., rng.random(kernel.shape[-1]) < 0.4] = 0
            kernel[..., rng.random(kernel.shape[-2]) < 0.3, :] = 0
            layer.set_weights([kernel, *bias])
    return model


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    convolutions=st.lists(CONVOLUTIONS, min_size=1, max_size=2),
    join=st.sampled_from(["Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"]),
    neurons=st.lists(NEURONS, max_size=2),
    seed=st.integers(0, 999),
)
def test_any_chain_keeps_its_function(convolutions, join, neurons, seed):
    model = build_chain(convolutions, join, neurons, seed)
    x = inputs_of(model)
    reduced = reduce_model(model)
    (expected,), (received,) = outputs_of(model, x), outputs_of(reduced, x)
    assert np.abs(expected - received).max() <= 1e-5 * max(np.abs(expected).max(), 1e-2)
    for name, width in widths(reduced).items():
        assert 1 <= width <= widths(model)[name]
    assert plan_reduction(reduced).removed == {}
