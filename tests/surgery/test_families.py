"""Each family is held against what the layer itself does to constant and to varying units."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.layers import ElementwiseFamily, forget_layer, register_layer, unit_family
from fabricfit.network.graph import read_graph
from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

UNITS = 6
# Units 0 to 3 are constant, among them 0 and a negative number; 4 and 5 vary.
KNOWN = np.array([0.0, -0.75, 1.5, 0.25, np.nan, np.nan])


def single_call(layer, shape, n_inputs=1):
    inputs = [keras.Input(shape) for _ in range(n_inputs)]
    given = inputs if n_inputs > 1 else inputs[0]
    model = keras.Model(given, layer(given))
    rng = np.random.default_rng(3)
    weights = [rng.normal(0, 1, w.shape).astype("float32") for w in layer.get_weights()]
    if isinstance(layer, layers.BatchNormalization):
        weights[-1] = np.abs(weights[-1])
    layer.set_weights(weights)
    call = next(call for call in read_graph(model).calls if call.layer is layer)
    return model, call


def samples(known, shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (30, *shape)).astype("float32")
    return np.where(np.isnan(known), x, known).astype("float32")


def observe(y):
    """Return each unit's value where the layer gave the same everywhere, else NaN."""
    flat = np.asarray(keras.ops.convert_to_numpy(y), np.float64).reshape(-1, y.shape[-1])
    return np.where(np.ptp(flat, axis=0) < 1e-5, flat[0], np.nan)


IMAGE = (4, 4, UNITS)
SERIES = (5, UNITS)
CASES = {
    "relu": (lambda: layers.ReLU(), (UNITS,)),
    "capped relu": (lambda: layers.ReLU(1.0, 0.2, 0.1), (UNITS,)),
    "leaky": (lambda: layers.LeakyReLU(0.3), IMAGE),
    "elu": (lambda: layers.ELU(), (UNITS,)),
    "gelu": (lambda: layers.Activation("gelu"), (UNITS,)),
    "prelu": (lambda: layers.PReLU(shared_axes=[1, 2]), IMAGE),
    "prelu by pixel": (lambda: layers.PReLU(), IMAGE),
    "batch norm": (lambda: layers.BatchNormalization(), IMAGE),
    "batch norm, bare": (lambda: layers.BatchNormalization(center=False, scale=False), (UNITS,)),
    "dropout": (lambda: layers.Dropout(0.5), IMAGE),
    "noise": (lambda: layers.GaussianNoise(0.5), (UNITS,)),
    "max": (lambda: layers.MaxPooling2D(3, 2, padding="same"), IMAGE),
    "average": (lambda: layers.AveragePooling2D(3, 2, padding="same"), IMAGE),
    "average 1D": (lambda: layers.AveragePooling1D(2, padding="same"), SERIES),
    "max 1D": (lambda: layers.MaxPooling1D(2, padding="same"), SERIES),
    "global average": (lambda: layers.GlobalAveragePooling2D(), IMAGE),
    "global max": (lambda: layers.GlobalMaxPooling1D(), SERIES),
    "upsampling": (lambda: layers.UpSampling2D(2), IMAGE),
    "bilinear": (lambda: layers.UpSampling2D(2, interpolation="bilinear"), IMAGE),
    "cropping": (lambda: layers.Cropping2D(1), IMAGE),
    "padding": (lambda: layers.ZeroPadding2D(1), IMAGE),
    "repeat": (lambda: layers.RepeatVector(2), (UNITS,)),
    "flatten": (lambda: layers.Flatten(), IMAGE),
    "reshape": (lambda: layers.Reshape((2, 8, UNITS)), IMAGE),
    "split": (lambda: layers.Reshape((2, 3)), (UNITS,)),
    "dense": (lambda: layers.Dense(3, "tanh"), (UNITS,)),
    "conv, same": (lambda: layers.Conv2D(3, 2, padding="same"), IMAGE),
    "conv, valid": (lambda: layers.Conv2D(3, 2, activation="sigmoid"), IMAGE),
    "causal": (lambda: layers.Conv1D(3, 2, padding="causal"), SERIES),
    "depthwise": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), IMAGE),
    "depthwise, same": (lambda: layers.DepthwiseConv2D(3, padding="same"), IMAGE),
}


@pytest.mark.parametrize("name", CASES)
def test_constants_are_those_that_the_layer_gives(name):
    make, shape = CASES[name]
    layer = make()
    model, call = single_call(layer, shape)
    family = unit_family(layer)
    assert family.obstacle(call) is None
    if family.has_own_units:
        # Output 0 sees units that vary, output 1 constant ones, output 2 none but unit 0.
        kernel, bias = layer.get_weights()
        kernel[..., 4:, 1:] = 0
        kernel[..., 1:, 2] = 0
        layer.set_weights([kernel, bias])
    expected = observe(model(samples(KNOWN, shape, 1), training=False))
    received = family.constants(call, (KNOWN,))
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(expected).any() or name == "repeat"


@pytest.mark.parametrize(
    "merge", ["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Concatenate"]
)
@pytest.mark.parametrize("shape", [(UNITS,), IMAGE])
def test_merged_constants_are_those_that_the_layer_gives(merge, shape):
    layer = getattr(layers, merge)()
    model, call = single_call(layer, shape, n_inputs=2)
    both = (KNOWN, np.array([np.nan, 2.0, 0.5, np.nan, 0.0, np.nan]))
    x = [samples(known, shape, seed) for seed, known in enumerate(both)]
    received = unit_family(layer).constants(call, both)
    np.testing.assert_allclose(received, observe(model(x)), rtol=1e-6)


def test_concatenation_along_positions_ties_equal_units():
    layer = layers.Concatenate(axis=1)
    _, call = single_call(layer, SERIES, n_inputs=2)
    family = unit_family(layer)
    other = KNOWN + np.array([0, 0, 1, 0, 0, 0])
    expected = np.array([0.0, -0.75, np.nan, 0.25, np.nan, np.nan])
    np.testing.assert_array_equal(family.constants(call, (KNOWN, other)), expected)
    assert [link.port for link in family.links(call)] == [0, 1]


TIED = [name for name in CASES if name not in ("dense", "conv, same", "conv, valid", "causal")]


@pytest.mark.parametrize("name", TIED)
def test_links_name_every_output_that_an_input_reaches(name):
    make, shape = CASES[name]
    layer = make()
    model, call = single_call(layer, shape)
    (link,) = unit_family(layer).links(call)
    # Between the breaks of the activations in question every output follows its input.
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.9, (1, *shape)).astype("float32")
    base = keras.ops.convert_to_numpy(model(x, training=False)).reshape(-1, call.output.units)
    for unit in range(UNITS):
        moved = x.copy()
        moved[..., unit] += 0.05
        y = keras.ops.convert_to_numpy(model(moved, training=False))
        touched = np.flatnonzero(np.abs(y.reshape(base.shape) - base).max(axis=0) > 1e-7)
        np.testing.assert_array_equal(touched, np.unique(link.outputs[link.inputs == unit]))


@pytest.mark.parametrize(
    ("make", "shape", "words"),
    [
        (lambda: layers.BatchNormalization(axis=1), IMAGE, "axis 1"),
        (lambda: layers.Conv2D(4, 1, groups=2), IMAGE, "2 groups"),
        (lambda: layers.Activation("softmax"), (UNITS,), "mixes units"),
        (lambda: layers.Dropout(0.5, noise_shape=(None, UNITS)), (UNITS,), "noise_shape"),
        (lambda: layers.Reshape((9, 4)), (6, UNITS), "splits"),
        (lambda: layers.GlobalMaxPooling2D(data_format="channels_first"), IMAGE, "data_format"),
        (lambda: layers.ZeroPadding2D(data_format="channels_first"), IMAGE, "data_format"),
    ],
)
def test_obstacles_are_named(make, shape, words):
    layer = make()
    if isinstance(layer, layers.Conv2D):
        layer.build((None, *shape))
    _, call = single_call(layer, shape)
    assert words in unit_family(layer).obstacle(call)


def test_broadcast_sum_is_an_obstacle():
    one, two = keras.Input((3, UNITS)), keras.Input((3, 1))
    layer = layers.Add()
    (*_, call) = read_graph(keras.Model([one, two], layer([one, two]))).calls
    assert "broadcasts" in unit_family(layer).obstacle(call)


def test_infinite_results_count_as_varying():
    layer = layers.Activation("exponential")
    _, call = single_call(layer, (2,))
    result = unit_family(layer).constants(call, (np.array([1e3, 0.0]),))
    np.testing.assert_array_equal(result, [np.nan, 1.0])
    layer = layers.Dense(2)
    _, call = single_call(layer, (1,))
    layer.set_weights([np.zeros((1, 2), "float32"), np.array([np.inf, 0.5], "float32")])
    result = unit_family(layer).constants(call, (np.array([np.nan]),))
    np.testing.assert_array_equal(result, [np.nan, 0.5])


def test_a_subclass_is_not_taken_for_its_base():
    class Own(layers.ReLU):
        pass

    assert unit_family(layers.ReLU()) is not None
    assert unit_family(Own()) is None
    assert unit_family(layers.UnitNormalization()) is None


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_new_family_is_one_registration():
    def build():
        return keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(4, bias_initializer="ones", name="a"),
                Doubled(),
                layers.Dense(2, kernel_initializer="ones"),
            ]
        )

    model = build()
    kernel, bias = model.get_layer("a").get_weights()
    kernel[:, 1] = 0
    model.get_layer("a").set_weights([kernel, bias])
    assert plan_reduction(model).removed == {}
    assert "'doubled" in plan_reduction(model).kept["a"]

    @register_layer
    class DoubledFamily(ElementwiseFamily):
        handles = (Doubled,)

    try:
        assert plan_reduction(model).removed == {"a": [1]}
        x = np.ones((1, 3), "float32")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(reduce_model(model)(x)),
            keras.ops.convert_to_numpy(model(x)),
            rtol=1e-6,
        )
    finally:
        forget_layer(DoubledFamily)
