"""Small models and their hls4ml configurations, for the tests of generated code."""

import keras
import numpy as np

import fabricfit.hardware  # noqa: F401 - before hls4ml, whose import prints
from fabricfit.firmware.emulation import registry

layers = keras.layers


def seeded(inputs, outputs):
    """A model whose every weight is an arbitrary number, the same each time, moments included.

    None is so small that a format would make it zero: such weights are counted otherwise.
    """
    model, rng = keras.Model(inputs, outputs), np.random.default_rng(3)
    for layer in model.layers:
        moved = []
        for variable, value in zip(layer.weights, layer.get_weights(), strict=True):
            start = value if value.ndim == 1 else 0  # Keras draws kernels anew each time
            number = start + rng.normal(0, 0.5, value.shape)
            number = np.where(np.abs(number) < 0.1, np.where(number < 0, -0.1, 0.1), number)
            moved.append(np.abs(number) + 0.2 if "variance" in variable.name else number)
        layer.set_weights(moved)
    return model


def prune(model, name, runs, reuse_factor):
    """Zero the weights of these multipliers of a layer, by index."""
    layer = model.get_layer(name)
    kernel, *rest = layer.get_weights()
    rows = np.moveaxis(kernel, -1, 0).reshape(-1, reuse_factor)
    rows[runs] = 0
    shape = (kernel.shape[-1], *kernel.shape[:-1])
    layer.set_weights([np.moveaxis(rows.reshape(shape), 0, -1), *rest])


def write_config(model, strategies, precisions=None, default="fixed<16,6>"):
    """An hls4ml configuration; strategies are (name, reuse factor) by layer."""
    import hls4ml

    config = hls4ml.utils.config_from_keras_model(
        model, granularity="name", backend="Vitis", default_precision=default
    )
    for name, (strategy, reuse_factor) in strategies.items():
        config["LayerName"][name].update(Strategy=strategy, ReuseFactor=reuse_factor)
    for name, changes in (precisions or {}).items():
        config["LayerName"][name]["Precision"].update(changes)
    return config


def tagger():
    """A perceptron with one layer of each strategy, and normalizations that fold and that do not."""
    x = features = keras.Input((16,), name="features")
    x = layers.Dense(12, activation="relu", name="fast")(x)
    x = layers.BatchNormalization(name="kept")(x)
    x = layers.Dense(10, use_bias=False, name="folding")(x)
    x = layers.BatchNormalization(name="folded")(x)
    x = layers.LeakyReLU(negative_slope=0.3, name="leaky")(x)
    x = layers.Dense(8, activation="tanh", name="shared")(x)
    x = layers.Dense(8, activation="sigmoid", name="unrolled")(x)
    x = layers.Dense(6, activation="relu", name="many")(x)
    model = seeded(features, layers.Dense(5, activation="softmax", name="out")(x))
    prune(model, "unrolled", [0, 3, 4, 11], 4)
    return model


def tagger_config(model):
    strategies = {
        "fast": ("Latency", 1),
        "folding": ("Resource", 4),
        "shared": ("Resource", 5),
        "unrolled": ("ResourceUnrolled", 4),
        "many": ("ResourceUnrolled", 16),
        "out": ("Resource", 3),
    }
    precisions = {
        "fast": {"weight": "fixed<8,3>", "bias": "fixed<8,3>"},
        "folding": {"accum": "fixed<14,5,RND,SAT>"},
        "shared": {"accum": "fixed<12,4,RND_CONV,SAT_SYM>", "result": "fixed<9,4,RND_INF,SAT>"},
        "unrolled": {"weight": "fixed<10,2,RND,SAT>", "accum": "fixed<13,5>"},
        "many": {"result": "ufixed<7,3,TRN_ZERO,SAT_ZERO>"},
        "out": {"result": "fixed<12,5>"},  # a softmax looks at the upper ten bits
    }
    return write_config(model, strategies, precisions)


def lenet():
    """A small convolutional network for io_stream."""
    x = image = keras.Input((9, 8, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(3, (2, 3), name="conv2")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.Flatten(name="flat")(x)
    model = seeded(image, layers.Dense(5, activation="softmax", name="out")(x))
    prune(model, "conv1", [0, 5, 6], 3)
    prune(model, "conv2", [1, 2, 8], 6)
    prune(model, "out", [0, 4], 3)
    return model


def lenet_config(model):
    strategies = {
        "conv1": ("ResourceUnrolled", 3),
        "conv2": ("ResourceUnrolled", 6),
        "out": ("ResourceUnrolled", 3),
    }
    precisions = {
        "conv2": {"accum": "fixed<14,6,RND,SAT>", "weight": "fixed<8,2,RND_ZERO,SAT>"},
        "out": {"result": "fixed<13,6>"},
    }
    return write_config(model, strategies, precisions, "fixed<12,4>")


def branches():
    """Convolutions for io_parallel, with branches."""
    image = keras.Input((6, 7, 2), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(image)
    x = layers.BatchNormalization(name="folded")(x)
    x = layers.Activation("relu", name="relu1")(x)
    y = layers.Conv2D(4, 1, activation="relu", name="point")(x)
    z = layers.Add(name="sum")([x, y])
    z = layers.Concatenate(name="both")([z, y])
    z = layers.AveragePooling2D((2, 2), strides=(1, 2), padding="same", name="mean")(z)
    z = layers.Activation("elu", name="curve")(z)
    z = layers.Flatten(name="flat")(z)
    return seeded(image, layers.Dense(3, name="out")(z))


def branches_config(model):
    strategies = {"conv1": ("Resource", 6), "point": ("Latency", 1), "out": ("Resource", 4)}
    precisions = {
        "image": {"result": "fixed<10,4,RND,SAT>"},
        "conv1": {"accum": "fixed<18,8,RND,SAT>", "result": "auto"},
        "sum": {"result": "fixed<11,5,TRN,SAT>"},
        "out": {"accum": "fixed<16,6>", "result": "fixed<8,3,RND,SAT_SYM>"},
    }
    config = write_config(model, strategies, precisions, "fixed<12,5>")
    config["LayerName"]["conv1"]["ParallelizationFactor"] = 4
    return config


def forget(monkeypatch, kind):
    """Take the emulation of a class of hls4ml's nodes away, as if it were not modelled."""
    monkeypatch.delitem(registry._EMULATORS, kind)


def samples(model, n=40):
    """Numbers that reach the limits of the input's format now and then."""
    shape = tuple(model.inputs[0].shape[1:])
    return np.random.default_rng(5).normal(0, 3, (n, *shape))
