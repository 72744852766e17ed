"""Reading a model's graph: what is piecewise linear, and where the network gives way to the loss.

The loss is a smooth function of the last pre-activations; where all before those is piecewise
linear in any one weight, the Gauss–Newton diagonal is the diagonal of the Hessian.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.network.walk import functional_graph

__all__ = ["Head", "graph_calls", "model_heads", "why_not_piecewise_linear"]


def _known(module: Any, names: str) -> frozenset[Any]:
    return frozenset(getattr(module, name) for name in names.split() if hasattr(module, name))


_WITH_ACTIVATION = _known(
    keras.layers,
    "Dense EinsumDense Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose "
    "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D",
)

_ACTIVATION_LAYERS = _known(keras.layers, "Activation Softmax")

_PIECEWISE_LINEAR_LAYERS = _WITH_ACTIVATION | _known(
    keras.layers,
    "InputLayer Identity Activation ReLU LeakyReLU PReLU BatchNormalization Normalization "
    "Rescaling Embedding ActivityRegularization "
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout "
    "GaussianNoise MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D "
    "AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D "
    "Flatten Reshape Permute RepeatVector ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D "
    "Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D "
    "Add Subtract Average Maximum Minimum Concatenate",
)
"""Exact types only: a subclass may compute anything."""

_PIECEWISE_LINEAR_OPERATIONS = (
    "Add",
    "Concatenate",
    "Maximum",
    "Minimum",
    "Negative",
    "Relu",
    "Relu6",
    "Reshape",
    "Subtract",
    "Transpose",
)

_PIECEWISE_LINEAR_ACTIVATIONS = _known(
    keras.activations, "linear relu relu6 leaky_relu hard_sigmoid hard_tanh"
)


@dataclass(frozen=True)
class Head:
    """Where one output of a model leaves the network for the loss.

    Parameters
    ----------
    layer
        The layer whose last act belongs to the loss.
    attribute
        ``'activation'`` for the layer's activation, ``'call'`` for the whole of an activation
        layer, ``None`` where the output itself is what the loss receives.
    """

    layer: Any = None
    attribute: str | None = None

    @property
    def activation(self) -> Any:
        """The function that belongs to the loss: ``keras.activations.linear`` where there is none.

        ``None`` for a layer that is not the plain form of a function.
        """
        if self.attribute is None:
            return keras.activations.linear
        if type(self.layer) is keras.layers.Softmax:
            return keras.activations.softmax if self.layer.axis == -1 else None
        return self.layer.activation

    def finish(self, z: Any) -> Any:
        """Turn the network's end into the model's output."""
        if self.attribute is None:
            return z
        return getattr(self.layer, self.attribute)(z)


def graph_calls(model: keras.Model) -> list[Any] | None:
    """List the layers and operations of a model, once for every time that they are called.

    Nested models count as what they hold. ``None`` where the graph cannot be read: a subclassed
    model, one that is not built, or one whose ``call`` is its own.
    """
    try:
        return list(_calls(model))
    except _UnreadableGraphError:
        return None


class _UnreadableGraphError(Exception):
    """A model without a graph; never leaves this module."""


def _calls(model: keras.Model) -> Iterator[Any]:
    for operation in _own_calls(model):
        if isinstance(operation, keras.Model):
            yield from _calls(operation)
        else:
            yield operation


def _own_calls(model: keras.Model) -> list[Any]:
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    if not owner.__module__.startswith("keras.src.models") or functional_graph(model) is None:
        raise _UnreadableGraphError
    return [node.operation for node in _nodes(model)]


def _nodes(model: keras.Model) -> Iterator[Any]:
    for level in functional_graph(model)._nodes_by_depth.values():
        yield from level


def model_heads(model: keras.Model) -> list[Head]:
    """Find where the network ends, for every output in the order of ``keras.tree.flatten``.

    A final activation moves to the loss's side unless something else in the graph uses it too.
    """
    calls = graph_calls(model)
    count = len(getattr(model, "outputs", None) or ())
    if calls is None or not count:
        return [Head()] * count
    times = Counter(id(call) for call in calls)
    return [_head(model, i, times) for i in range(count)]


def _head(model: keras.Model, index: int, times: Counter[int]) -> Head:
    outputs = functional_graph(model).outputs
    last, _, inner_index = outputs[index]._keras_history
    consumed = {id(tensor) for node in _nodes(model) for tensor in node.input_tensors}
    again = sum(other is outputs[index] for other in outputs) > 1
    if id(outputs[index]) in consumed or again or times[id(last)] > 1:
        return Head()
    if isinstance(last, keras.Model):
        return _head(last, inner_index, times)
    if type(last) in _ACTIVATION_LAYERS:
        return Head(last, "call")
    return Head(last, "activation") if type(last) in _WITH_ACTIVATION else Head()


def why_not_piecewise_linear(model: keras.Model) -> str | None:
    """Say what keeps a model's last pre-activations from being piecewise linear in any one weight.

    Conservative: what is not known to be harmless counts as an obstacle. ``None`` if there is none.
    """
    calls = graph_calls(model)
    if calls is None:
        return "its graph cannot be read: not a built Sequential or Functional model"
    heads = model_heads(model)
    times = Counter(id(call) for call in calls)
    kernels = Counter(
        id(call.kernel) for call in calls if getattr(call, "kernel", None) is not None
    )
    for call in calls:
        name = f"layer {call.name!r}"
        if times[id(call)] > 1 and getattr(call, "weights", None):
            return f"{name} is called {times[id(call)]} times"
        if kernels[id(getattr(call, "kernel", None))] > 1:
            return f"{name} shares its kernel with another layer"
        head = next((head for head in heads if head.layer is call), None)
        reason = None if head and head.attribute == "call" else _obstacle(call, head is not None)
        if reason:
            return f"{name} {reason}"
    return None


def _obstacle(call: Any, activation_is_free: bool) -> str | None:
    kind = type(call).__name__
    if not isinstance(call, keras.Layer):
        plain = kind in _PIECEWISE_LINEAR_OPERATIONS
        return None if plain else f"is the operation {kind}, not known to be piecewise linear"
    if type(call) not in _PIECEWISE_LINEAR_LAYERS:
        return f"is of the type {kind}, not known to be piecewise linear"
    activation = getattr(call, "activation", None)
    if activation_is_free or activation is None or _is_piecewise_linear(activation):
        return None
    named = getattr(activation, "__name__", type(activation).__name__)
    return f"has the activation {named!r}"


def _is_piecewise_linear(activation: Any) -> bool:
    if isinstance(activation, keras.Layer):
        return _obstacle(activation, False) is None
    try:
        return activation in _PIECEWISE_LINEAR_ACTIVATIONS
    except TypeError:  # an activation that cannot be hashed is none of the known ones
        return False
