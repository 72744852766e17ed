"""Running a model as a pure function, with hooks on its layers' inputs and pre-activations.

While a model runs with hooks, its layers' ``call`` and ``activation`` are replaced on the instances and
restored afterwards: one model must not be run from two threads at that time.
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
from fabricfit.network.copying import every_layer

__all__ = ["Hook", "HookedRun", "run", "run_with_hooks", "run_with_shifted_inputs"]

_MISSING = object()
_HALF_PRECISION = ("float16", "bfloat16")


@dataclass(frozen=True)
class Hook:
    """A layer whose inputs are recorded, and to whose pre-activation a tensor can be added."""

    layer: keras.Layer
    form: MatrixForm


@dataclass(frozen=True)
class HookedRun:
    """Results of a run with hooks.

    ``outputs`` is the list of the network's ends (before the activations that belong to the loss),
    ``inputs`` and ``shapes`` hold a hooked layer's input and the shape of its pre-activation.
    """

    outputs: list[Tensor]
    inputs: dict[str, Tensor]
    shapes: dict[str, tuple[int, ...]]


def run(
    model: keras.Model, variables: Sequence[keras.Variable], values: Sequence[Tensor], x: Any
) -> Any:
    """Call a model at inference with other values in the place of its variables, unchanged.

    Layers that compute in half precision compute in full precision here.
    """
    scope = keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True)))
    with _in_full_precision(model), scope:
        return model(x, training=False)


def run_with_hooks(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    values: Sequence[Tensor],
    x: Any,
    hooks: Mapping[str, Hook],
    shifts: Mapping[str, Tensor],
    heads: Sequence[Head] = (),
) -> HookedRun:
    """Call a model as :func:`run` does, with hooks.

    Parameters
    ----------
    model, variables, values, x
        As for :func:`run`.
    hooks
        The layers with hooks, by key; each is called once by the model.
    shifts
        Tensors ``(n, p, g, f)`` in the layer's matrix form, added to its pre-activation.
    heads
        Activations to leave out, because they belong to the loss.
    """
    inputs: dict[str, Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    cut = {id(head.layer) for head in heads if head.attribute == "activation"}
    with ExitStack() as stack:
        _leave_out(heads, stack)
        for key, hook in hooks.items():
            recording = _record_inputs(hook.layer.call, key, inputs)
            activation = _pass_on if id(hook.layer) in cut else hook.layer.activation
            shift = _add_shift(hook, activation, key, shifts.get(key), shapes)
            stack.enter_context(_replaced(hook.layer, "call", recording))
            stack.enter_context(_replaced(hook.layer, "activation", shift))
        outputs = run(model, variables, values, x)
    return HookedRun(keras.tree.flatten(outputs), inputs, shapes)


def run_with_shifted_inputs(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    values: Sequence[Tensor],
    x: Any,
    layers: Mapping[str, keras.Layer],
    shifts: Mapping[str, Tensor],
    heads: Sequence[Head] = (),
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Call a model as :func:`run` does, and add to what some layers receive.

    Parameters
    ----------
    model, variables, values, x, heads
        As for :func:`run_with_hooks`.
    layers
        Layers by key, each called once by the model, with one input.
    shifts
        What is added to the input of each.

    Returns
    -------
    outputs : list
        The network's ends.
    inputs : dict
        What each layer receives, without what is added.
    """
    inputs: dict[str, Tensor] = {}

    def shifted(call: Any, key: str) -> Any:
        def calling(given: Any, *args: Any, **kwargs: Any) -> Any:
            inputs[key] = given
            return call(given + ops.cast(shifts[key], given.dtype), *args, **kwargs)

        return calling

    with ExitStack() as stack:
        _leave_out(heads, stack)
        for key, layer in layers.items():
            stack.enter_context(_replaced(layer, "call", shifted(layer.call, key)))
        outputs = run(model, variables, values, x)
    return keras.tree.flatten(outputs), inputs


def _leave_out(heads: Sequence[Head], stack: ExitStack) -> None:
    """Leave activations that belong to the loss out, until the stack is left."""
    for head in heads:
        if head.attribute:
            stack.enter_context(_replaced(head.layer, head.attribute, _pass_on))


@contextmanager
def _in_full_precision(model: keras.Model) -> Iterator[None]:
    with ExitStack() as stack:
        for layer in every_layer(model):
            if layer.compute_dtype in _HALF_PRECISION:
                full = keras.dtype_policies.DTypePolicy("float32")
                stack.enter_context(_replaced(layer, "_dtype_policy", full))
        yield


def _pass_on(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value


def _record_inputs(call: Any, key: str, inputs: dict[str, Tensor]) -> Any:
    def recording(*args: Any, **kwargs: Any) -> Any:
        inputs[key] = args[0] if args else next(iter(kwargs.values()))
        return call(*args, **kwargs)

    return recording


def _add_shift(
    hook: Hook, activation: Any, key: str, shift: Tensor | None, shapes: dict[str, tuple[int, ...]]
) -> Any:
    def shifted(s: Tensor) -> Tensor:
        shapes[key] = tuple(s.shape)
        if shift is not None:
            s = s + ops.cast(hook.form.restore(hook.layer, shift, shapes[key]), s.dtype)
        return s if activation is None else activation(s)

    return shifted


@contextmanager
def _replaced(layer: keras.Layer, name: str, value: Any) -> Iterator[None]:
    """Replace a layer's attribute by one of the instance, without Keras' tracking of attributes."""
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
