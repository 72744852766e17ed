"""Models with zeroed units, and what has to hold for the reduction of any model."""

import keras
import numpy as np
from keras import layers

from fabricfit.surgery.reduction import plan_reduction, reduce_model


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
