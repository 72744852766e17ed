"""What the loss becomes without a channel, against finite differences in a factor on it."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.curvature import Curvature
from tests.marks import ON_ONE_BACKEND, first_quick

from .curvature_cases import randomize

pytestmark = ON_ONE_BACKEND

LOSS = "sparse_categorical_crossentropy"
SHAPE = (6, 6, 2)


def plain():
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", name="a"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5, "relu", name="b"),
            layers.Dense(7, "softmax", name="c"),
        ]
    ), {"b": np.tile(np.arange(4), 16), "c": np.arange(4, 9)}


def residual():
    x = start = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    y = layers.Conv2D(4, 3, padding="same", name="b")(x)
    x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))
    y = layers.Conv2D(3, 3, name="c")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, layers.GlobalAveragePooling2D()(y)])
    x = layers.Dense(7, name="d")(x)
    model = keras.Model(start, layers.Activation("softmax")(x))
    return model, {"c": np.arange(4), "d": np.array([0, 1, 2, 3, 4, 5, -1])}


def depthwise():
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(4, 3, use_bias=False, name="a"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", name="dw"),
            layers.ReLU(),
            layers.Conv2D(5, 1, name="pw", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(7, "softmax", name="out"),
        ]
    ), {"pw": np.arange(4), "out": np.arange(4, 9)}


def log_probabilities(model, X):
    p = np.asarray(keras.ops.convert_to_numpy(model(X, training=False)), np.float64)
    return np.log(p)


def scaled(model, channels, number, factor, X):
    """The logarithms of probabilities with a factor on the kernels' rows that receive a channel."""
    before = model.get_weights()
    for name, numbers in channels.items():
        kernel = model.get_layer(name).kernel
        values = np.array(keras.ops.convert_to_numpy(kernel))
        rows = values.reshape(-1, len(numbers), values.shape[-1])
        rows[:, numbers == number] *= factor
        kernel.assign(rows.reshape(values.shape))
    found = log_probabilities(model, X)
    model.set_weights(before)
    return found


@pytest.mark.parametrize("make", first_quick([residual, plain, depthwise]))
def test_a_removal_is_the_second_order_of_a_factor_on_its_channel(make):
    model, channels = make()
    randomize(model, 5)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, *SHAPE)).astype("float32")
    # Drawn from the model's own probabilities, where the loss is near its minimum.
    p = np.exp(log_probabilities(model, X))
    y = np.array([rng.choice(7, p=each / each.sum()) for each in p])
    curvature = Curvature(model, None, LOSS)
    count = 1 + max(int(each.max()) for each in channels.values())
    given = {name: (model.get_layer(name), each) for name, each in channels.items()}
    found = np.mean(
        [curvature.removals(X, y, given, count + 1, seed=seed) for seed in range(6)], axis=0
    )
    assert np.isnan(found[-1])  # nobody receives it
    step, expected = 0.003, []
    for number in range(count):
        low, high = (scaled(model, channels, number, 1 + k * step, X) for k in (-1, 1))
        slopes = (high - low) / (2 * step)  # of the logits, up to a number for each sample
        first = -slopes[np.arange(len(y)), y].mean()
        second = ((p * slopes**2).sum(axis=1) - (p * slopes).sum(axis=1) ** 2).mean()
        expected.append((second / 2 - first, second / 2 + abs(first)))
    values, scale = np.array(expected).T
    counts = values > 0.1 * scale
    assert counts.sum() >= 3
    assert (abs(found[:-1] - values) < 0.1 * scale)[counts].all(), (found, values, scale)
    assert (found[:-1] >= 0).all()


def test_a_layer_that_is_called_twice_tells_nothing():
    x = start = keras.Input((3,))
    shared = layers.Dense(3, "relu", name="shared")
    x = layers.Dense(3, "relu", name="first")(x)
    x = layers.Dense(7, "softmax", name="out")(shared(shared(x)))
    model = keras.Model(start, x)
    curvature = Curvature(model, None, LOSS)
    X, y = np.ones((4, 3)), np.arange(4)
    channels = {"shared": (shared, np.arange(3)), "out": (model.get_layer("out"), np.arange(3, 6))}
    found = curvature.removals(X, y, channels, 6)
    assert np.isnan(found).tolist() == [True] * 3 + [False] * 3


def test_a_channel_without_effect_loses_nothing():
    model, channels = plain()
    kernel = model.get_layer("c").kernel
    values = np.array(keras.ops.convert_to_numpy(kernel))
    values[2] = 0
    kernel.assign(values)
    X, y = np.random.default_rng(0).normal(size=(20, *SHAPE)), np.arange(20) % 7
    given = {name: (model.get_layer(name), each) for name, each in channels.items()}
    assert Curvature(model, None, LOSS).removals(X, y, given, 9)[6] == 0
