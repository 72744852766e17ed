"""Reduction keeps the function and removes exactly what it may."""

import logging

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.surgery.reduction import ReductionPlan, plan_reduction, reduce_model
from tests.marks import ON_ONE_BACKEND

from .cases import (
    assert_same_function,
    convnet,
    inputs_of,
    mlp,
    outputs_of,
    randomize,
    reduced_and_checked,
    widths,
    zero,
)

pytestmark = ON_ONE_BACKEND


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


@pytest.mark.parametrize(
    ("pool", "activation"),
    [(layers.MaxPooling2D, "relu"), (layers.AveragePooling2D, "sigmoid")],
)
def test_convnet_loses_exactly_the_zeroed_filters(pool, activation):
    model = zero(convnet(pool=pool, activation=activation), c1=[0, 4], c2=[1, 2, 5], d1=[3])
    reduced = reduced_and_checked(model)
    assert widths(reduced) == {"c1": 3, "c2": 3, "d1": 4, "out": 3}
    assert reduced.get_layer("d1").kernel.shape[0] == model.get_layer("d1").kernel.shape[0] // 2


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


@pytest.mark.parametrize(
    ("build", "message"),
    [(Subclassed, "Call it on a batch"), (OwnCall, r"subclassed.*keras\.Model")],
)
def test_subclassed_model_is_refused(build, message):
    with pytest.raises(InvalidInputError, match=message):
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
