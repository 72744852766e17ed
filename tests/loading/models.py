"""Small models of which files are written."""

from __future__ import annotations

import keras
import numpy as np

from tests.common import L, outputs_of

__all__ = ["MODELS", "build", "check_same", "samples_of"]


def _sequence(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def _several():
    first, second = keras.Input((6,), name="first"), keras.Input((4,), name="second")
    inner = keras.Sequential(
        [keras.Input((4,)), L.Dense(4), L.BatchNormalization(axis=1)], name="inner"
    )
    given = keras.Input((4,), name="given")
    deep = keras.Model(given, L.Dense(4, name="below")(inner(given)), name="deep")
    shared = L.Dense(4, name="shared")
    one, two = shared(first), deep(second)
    three = deep(shared(L.Concatenate(name="single")([first])))
    outputs = [
        L.Dense(2, name="left")(L.Add(name="sum")([one, two])),
        L.Concatenate(name="right")([two, three]),
    ]
    return keras.Model([first, second], outputs, name="several")


def _attention():
    given = keras.Input((4, 8), name="given")
    found = L.MultiHeadAttention(2, 3, name="attention")(given, given)
    return keras.Model(given, L.LayerNormalization(name="norm")(found))


def _states():
    given = keras.Input((5, 3), name="given")
    sequence, *states = L.LSTM(4, return_sequences=True, return_state=True, name="encoder")(given)
    return keras.Model(given, L.LSTM(4, name="decoder")(sequence, initial_state=states))


MODELS = {
    "dense": lambda: _sequence(
        (6,),
        L.Dense(5, activation="relu"),
        L.BatchNormalization(axis=1),
        L.ReLU(max_value=6, negative_slope=0.1, threshold=0.2),
        L.LeakyReLU(0.2),
        L.PReLU(),
        L.Dense(3, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2), activation="softmax"),
    ),
    "depthwise": lambda: _sequence(
        (8, 8, 2),
        L.DepthwiseConv2D(3, depth_multiplier=2),
        L.SeparableConv2D(4, 3),
        L.Conv2DTranspose(3, 3, strides=2),
        L.BatchNormalization(),
        L.GlobalAveragePooling2D(),
    ),
    "recurrent": lambda: _sequence(
        (5, 4),
        L.GRU(4, return_sequences=True, reset_after=False),
        L.Bidirectional(L.GRU(3, return_sequences=True)),
        L.TimeDistributed(L.Dense(4, activation="relu")),
        L.RNN([L.LSTMCell(3), L.GRUCell(2)]),
    ),
    "several": _several,
    "states": _states,
    "attention": _attention,
    "embedding": lambda: _sequence((6,), L.Embedding(9, 4), L.Flatten(), L.Dense(2)),
    "mixed": lambda: _sequence((6,), L.Dense(5, dtype="mixed_float16"), L.Dense(3)),
    "frozen": lambda: _sequence(
        (4,), keras.Sequential([keras.Input((4,)), L.Dense(4, trainable=False), L.Dense(3)])
    ),
}
"""Kind -> what builds a model."""


def build(kind: str) -> keras.Model:
    """Build a model with weights that are all different."""
    keras.utils.set_random_seed(0)
    model = MODELS[kind]()
    rng = np.random.default_rng(0)
    drawn = [rng.normal(scale=0.4, size=weight.shape) for weight in model.weights]
    model.set_weights(
        [
            abs(w) + 0.5 if "variance" in v.name else w
            for v, w in zip(model.weights, drawn, strict=True)
        ]
    )
    return model


def samples_of(model: keras.Model) -> list[np.ndarray]:
    """Return inputs of a model, small whole numbers, which an embedding can look up."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 9, (7, *each.shape[1:])).astype("float32") for each in model.inputs]


def check_same(loaded: keras.Model, model: keras.Model) -> None:
    """Check that two models compute the same, to the last bit."""
    samples = samples_of(model)
    given = samples if len(samples) > 1 else samples[0]
    found, expected = (outputs_of(each, given) for each in (loaded, model))
    keras.tree.assert_same_structure(found, expected)
    keras.tree.map_structure(np.testing.assert_array_equal, found, expected)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
