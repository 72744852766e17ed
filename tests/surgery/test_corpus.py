"""Random graphs with random units zeroed compute the same when they are reduced.

The graphs branch, join again by sums and concatenations, normalize, nest, share, and go through depthwise,
separable, transposed, recurrent and attention layers; biases and moving statistics are not zero.
"""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fabricfit.network.reader import read
from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.marks import ON_ONE_BACKEND, first_quick

from .cases import inputs_of, outputs_of

pytestmark = ON_ONE_BACKEND

L = keras.layers

ACTIVATIONS = ["relu", "tanh", "sigmoid", "linear", "elu"]
IMAGE_STEPS = [
    "conv", "conv", "depthwise", "separable", "transposed", "norm", "act", "pool", "residual",
    "concat", "scale", "nest", "dropout",
]  # fmt: skip
SERIES_STEPS = [
    "conv1d",
    "rnn",
    "bidirectional",
    "dense",
    "attention",
    "residual",
    "concat",
    "norm",
    "every",
]
FLAT_STEPS = ["dense", "dense", "norm", "act", "residual", "concat", "nest", "scale"]


class Builder:
    """Draws layers one after the other."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def one_of(self, values):
        return values[int(self.rng.integers(len(values)))]

    def step(self, kind, x):
        return getattr(self, f"_{kind}")(x)

    def _conv(self, x):
        padding = self.one_of(["same", "valid"]) if x.shape[1] > 3 else "same"
        strides = self.one_of([1, 2])
        made = L.Conv2D(
            int(self.rng.integers(3, 7)), 2, strides, padding, activation=self.one_of(ACTIVATIONS)
        )
        return made(x)

    def _depthwise(self, x):
        return L.DepthwiseConv2D(
            2,
            padding="same",
            depth_multiplier=self.one_of([1, 2]),
            activation=self.one_of(ACTIVATIONS),
        )(x)

    def _separable(self, x):
        return L.SeparableConv2D(
            5, 2, padding=self.one_of(["same"]), depth_multiplier=self.one_of([1, 2])
        )(x)

    def _transposed(self, x):
        return L.Conv2DTranspose(4, 2, padding="same", activation=self.one_of(ACTIVATIONS))(x)

    def _norm(self, x):
        return L.BatchNormalization()(x)

    def _act(self, x):
        return L.Activation(self.one_of(ACTIVATIONS))(x)

    def _dropout(self, x):
        return L.Dropout(0.3)(x)

    def _pool(self, x):
        if x.shape[1] < 2:
            return x
        return self.one_of([L.MaxPooling2D, L.AveragePooling2D])(2, padding="same")(x)

    def _again(self, x):
        """Make as many units again, of the same shape otherwise."""
        units = x.shape[-1]
        if len(x.shape) == 4:
            return L.Conv2D(units, 3, padding="same", activation=self.one_of(ACTIVATIONS))(x)
        if len(x.shape) == 3:
            return L.Conv1D(units, 3, padding="same", activation=self.one_of(ACTIVATIONS))(x)
        return L.Dense(units, self.one_of(ACTIVATIONS))(x)

    def _residual(self, x):
        join = self.one_of([L.Add, L.Add, L.Average, L.Maximum, L.Multiply, L.Subtract])
        other = self._again(x)
        if self.rng.random() < 0.4:
            other = L.BatchNormalization()(other)
        if self.rng.random() < 0.3:
            x = self._again(x)
        return join()([x, other])

    def _concat(self, x):
        parts = [x if self.rng.random() < 0.5 else self._again(x), self._again(x)]
        return L.Concatenate()(parts)

    def _scale(self, x):
        """Weigh units by others, as squeeze-and-excitation does."""
        if len(x.shape) != 4:
            return L.Multiply()([x, L.Dense(x.shape[-1], "sigmoid")(x)])
        squeezed = L.GlobalAveragePooling2D(keepdims=True)(x)
        return L.Multiply()([x, L.Conv2D(x.shape[-1], 1, activation="sigmoid")(squeezed)])

    def _nest(self, x):
        given_ = keras.Input(x.shape[1:])
        if len(x.shape) == 4:
            inner = L.Conv2D(4, 2, padding="same", activation="relu")(given_)
            inner = L.BatchNormalization()(inner)
            inner = L.Conv2D(5, 1)(inner)
        else:
            inner = L.Dense(5)(L.Dense(6, "relu")(given_))
        if self.rng.random() < 0.5:
            deeper = keras.Sequential(
                [keras.Input(inner.shape[1:]), L.Dense(4, "relu"), L.Dense(4)]
            )
            inner = deeper(inner)
        return keras.Model(given_, inner)(x)

    def _conv1d(self, x):
        padding = self.one_of(["same", "causal"])
        return L.Conv1D(5, 2, padding=padding, activation=self.one_of(ACTIVATIONS))(x)

    def _rnn(self, x):
        kind = self.one_of([L.SimpleRNN, L.LSTM, L.GRU])
        return kind(5, return_sequences=True, use_bias=bool(self.rng.random() < 0.8))(x)

    def _bidirectional(self, x):
        return L.Bidirectional(self.one_of([L.LSTM, L.GRU])(3, return_sequences=True))(x)

    def _attention(self, x):
        return L.MultiHeadAttention(3, 2, use_bias=bool(self.rng.random() < 0.8))(x, x)

    def _every(self, x):
        return L.TimeDistributed(L.Dense(5, self.one_of(ACTIVATIONS)))(x)

    def _dense(self, x):
        return L.Dense(int(self.rng.integers(3, 8)), self.one_of(ACTIVATIONS))(x)


def build(kind, steps, seed, outputs):
    """Build a model of drawn steps."""
    keras.utils.set_random_seed(seed)
    builder = Builder(seed)
    start = keras.Input({"image": (6, 6, 3), "series": (6, 4), "flat": (7,)}[kind])
    names = {"image": IMAGE_STEPS, "series": SERIES_STEPS, "flat": FLAT_STEPS}[kind]
    x, ends = start, []
    for number, step in enumerate(steps):
        x = builder.step(names[step % len(names)], x)
        if outputs > 1 and number == len(steps) // 2:
            ends.append(x)
    tails = [*ends, x]
    found = []
    for tail in tails:
        if len(tail.shape) > 2:
            join = [
                L.Flatten,
                L.GlobalAveragePooling2D if len(tail.shape) == 4 else L.GlobalMaxPooling1D,
            ]
            tail = builder.one_of(join)()(tail)
        found.append(L.Dense(3, name=f"end{len(found)}")(L.Dense(5, "relu")(tail)))
    return keras.Model(start, found if len(found) > 1 else found[0])


def give_weights(model, seed):
    """Give all weights numbers of their own, and zero random units and what they feed."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        values = rng.normal(0, 0.5, variable.shape)
        if "variance" in variable.path:
            values = np.abs(values) + 0.5
        variable.assign(values.astype("float32"))
    for kernel in read(model).grouped_kernels.values():
        array = np.array(keras.ops.convert_to_numpy(kernel.variable))
        axes = kernel.layout
        if axes is None:
            array[..., rng.random(array.shape[-1]) < 0.4] = 0
            if rng.random() < 0.5:
                array[..., rng.random(array.shape[-2]) < 0.25, :] = 0
        else:
            by_unit = axes.ordered(array, axes.by_unit, (axes.n_units, -1), np).copy()
            by_unit[rng.random(axes.n_units) < 0.4] = 0
            array = axes.restored(by_unit, axes.by_unit, array.shape, np)
        kernel.variable.assign(array)
        if kernel.bias is not None and rng.random() < 0.3:
            kernel.bias.assign(np.zeros(kernel.bias.shape))
    return model


@pytest.mark.parametrize("examples", first_quick([20, 100]))
def test_any_graph_keeps_its_function(examples):
    removed = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(
        kind=st.sampled_from(["image", "image", "series", "flat"]),
        steps=st.lists(st.integers(0, 200), min_size=2, max_size=6),
        seed=st.integers(0, 9999),
        outputs=st.sampled_from([1, 1, 2]),
    )
    def keeps_its_function(kind, steps, seed, outputs):
        model = give_weights(build(kind, steps, seed, outputs), seed)
        x = inputs_of(model)
        reduced = reduce_model(model)
        expected, received = outputs_of(model, x), outputs_of(reduced, x)
        for ours, theirs in zip(expected, received, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(ours).max(), 1e-2)
        removed.append(plan_reduction(model).n_removed)
        assert (reduced.count_params() < model.count_params()) == (removed[-1] > 0)

    keeps_its_function()
    assert len(removed) >= 0.6 * examples
    assert np.mean(np.array(removed) > 0) > 0.8, removed
    assert np.mean(removed) > 5
