"""Consumers: the kernels whose rows a unit feeds, seen through the layers between."""

import keras
import pytest

from fabricfit.layers import ElementwiseFamily, forget_layer, register_layer
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from tests.common import L
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def consumers(*layers, shape):
    model = keras.Sequential([keras.Input(shape), *layers])
    return get_attributes_from_keras_model(model)["first"].consumers


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (L.MaxPooling1D(2), L.MaxPooling2D((2, 1))),
        (L.AveragePooling1D(2), L.AveragePooling2D((2, 1))),
        (L.GlobalMaxPooling1D(), L.GlobalMaxPooling2D()),
        (L.ZeroPadding1D(1), L.ZeroPadding2D((1, 0))),
        (L.Cropping1D(1), L.Cropping2D((1, 0))),
        (L.UpSampling1D(2), L.UpSampling2D((2, 1))),
        (L.SpatialDropout1D(0.5), L.SpatialDropout2D(0.5)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_same_network_counts_the_same_in_one_and_in_two_dimensions(one, two):
    def build(shape, conv, between):
        layers = [conv, between, L.Flatten(), L.Dense(5, name="last")]
        model = keras.Sequential([keras.Input(shape), *layers])
        attributes = get_attributes_from_keras_model(model)
        first = attributes["first"]
        first.optimizable, first.optimization_attributes = GPUFLOPEstimator.is_layer_optimizable(
            first
        )
        return (
            first.consumers,
            GPUFLOPEstimator.layer_savings(first),
            GPUFLOPEstimator.model_utilization(attributes, {"first": 2}),
        )

    series = build((16, 3), L.Conv1D(4, 3, name="first"), one)
    image = build((16, 1, 3), L.Conv2D(4, (3, 1), name="first"), two)
    assert series == image
    assert series[0]["last"] > 0


@pytest.mark.parametrize(
    ("between", "last", "expected"),
    [
        ([], L.Dense(5, name="last"), 1),
        ([L.ReLU(), L.PReLU(), L.BatchNormalization()], L.Dense(5, name="last"), 1),
        ([L.ELU(), L.Reshape((-1,))], L.Dense(5, name="last"), 36),
        ([L.Reshape((9, 4, 4))], L.Conv2D(2, 3, name="last"), 9),
        ([L.Reshape((9, 16))], L.Conv1D(2, 3, name="last"), 12),
        ([L.DepthwiseConv2D(3, depth_multiplier=2)], L.Dense(5, name="last"), 2),
        ([L.DepthwiseConv2D(3, activation="softmax")], L.Dense(5, name="last"), 0),
        ([L.Activation("softmax")], L.Dense(5, name="last"), 0),
        ([L.LayerNormalization()], L.Dense(5, name="last"), 0),
        ([], L.Conv2DTranspose(5, 3, name="last"), 9),
        ([], L.EinsumDense("abcd,de->abce", (6, 6, 2), name="last"), 1),
        ([L.Reshape((36, 4))], L.LSTM(3, name="last"), 0),
    ],
)
def test_units_are_followed_to_the_rows_that_they_feed(between, last, expected):
    found = consumers(L.Conv2D(4, 3, name="first"), *between, last, shape=(8, 8, 3))
    assert found == ({"last": expected} if expected else {})


def test_units_side_by_side_pass_and_units_that_meet_do_not():
    inputs = keras.Input((4,))
    first, other = L.Dense(3, name="first")(inputs), L.Dense(3)(inputs)
    for merged, expected in (
        (L.Concatenate()([first, other, first]), {"last": 2}),
        (L.Add()([first, other]), {}),
    ):
        model = keras.Model(inputs, L.Dense(2, name="last")(merged))
        assert get_attributes_from_keras_model(model)["first"].consumers == expected


def test_an_elementwise_layer_of_ones_own_is_seen_through():
    class Half(L.Layer):
        def call(self, x):
            return 0.5 * x

    def found():
        return consumers(L.Dense(3, name="first"), Half(), L.Dense(2, name="last"), shape=(4,))

    assert found() == {}

    @register_layer
    class HalfFamily(ElementwiseFamily):
        handles = (Half,)

    try:
        assert found() == {"last": 1}
    finally:
        forget_layer(HalfFamily)
    assert found() == {}
