"""Running a model as a pure function, with taps on its layers' inputs and pre-activations.

While a model runs with taps, its layers' ``call`` and ``activation`` are hidden behind listeners
and then bared again: one model must not be run from two threads at that time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.linearity import Head
from fabricfit.layers.matrix_form import MatrixForm

__all__ = ["Tap", "TappedRun", "run", "run_tapped"]

_MISSING = object()


@dataclass(frozen=True)
class Tap:
    """A layer of which inputs are read and to whose pre-activation something is added."""

    layer: keras.Layer
    form: MatrixForm


@dataclass(frozen=True)
class TappedRun:
    """What a run with taps gave.

    ``outputs`` is the list of the network's ends (before the activations that belong to the loss),
    ``inputs`` and ``shapes`` hold a tapped layer's input and the shape of its pre-activation.
    """

    outputs: list[Tensor]
    inputs: dict[str, Tensor]
    shapes: dict[str, tuple[int, ...]]


def run(
    model: keras.Model, variables: Sequence[keras.Variable], values: Sequence[Tensor], x: Any
) -> Any:
    """Call a model at inference with other values in the place of its variables, unchanged."""
    with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
        return model(x, training=False)


def run_tapped(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    values: Sequence[Tensor],
    x: Any,
    taps: Mapping[str, Tap],
    shifts: Mapping[str, Tensor],
    heads: Sequence[Head] = (),
) -> TappedRun:
    """Call a model as :func:`run` does, with taps.

    Parameters
    ----------
    model, variables, values, x
        As for :func:`run`.
    taps
        The layers to listen to, by key; each is called once by the model.
    shifts
        Tensors ``(n, p, g, f)`` in the layer's matrix form, added to its pre-activation.
    heads
        Activations to leave out, since they belong to the loss.
    """
    inputs: dict[str, Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    cut = {id(head.layer) for head in heads if head.attribute == "activation"}
    with ExitStack() as stack:
        for head in heads:
            if head.attribute:
                stack.enter_context(_shadowed(head.layer, head.attribute, _first_argument))
        for key, tap in taps.items():
            listen = _listener(tap.layer.call, key, inputs)
            activation = _first_argument if id(tap.layer) in cut else tap.layer.activation
            shift = _shifter(tap, activation, key, shifts.get(key), shapes)
            stack.enter_context(_shadowed(tap.layer, "call", listen))
            stack.enter_context(_shadowed(tap.layer, "activation", shift))
        outputs = run(model, variables, values, x)
    return TappedRun(keras.tree.flatten(outputs), inputs, shapes)


def _first_argument(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value


def _listener(call: Any, key: str, inputs: dict[str, Tensor]) -> Any:
    def listening(*args: Any, **kwargs: Any) -> Any:
        inputs[key] = args[0] if args else next(iter(kwargs.values()))
        return call(*args, **kwargs)

    return listening


def _shifter(
    tap: Tap, activation: Any, key: str, shift: Tensor | None, shapes: dict[str, tuple[int, ...]]
) -> Any:
    def shifted(s: Tensor) -> Tensor:
        shapes[key] = tuple(s.shape)
        if shift is not None:
            s = s + ops.cast(tap.form.restore(tap.layer, shift, shapes[key]), s.dtype)
        return s if activation is None else activation(s)

    return shifted


@contextmanager
def _shadowed(layer: keras.Layer, name: str, value: Any) -> Iterator[None]:
    """Let an instance attribute hide what a layer has by that name, past Keras' own tracking."""
    attributes = vars(layer)
    before = attributes.get(name, _MISSING)
    attributes[name] = value
    try:
        yield
    finally:
        if before is _MISSING:
            del attributes[name]
        else:
            attributes[name] = before
