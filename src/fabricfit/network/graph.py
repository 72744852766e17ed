"""A model as a list of layer calls on tensors, each tensor with its units on the last axis.

The only module that reads how Keras records a graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from fabricfit.layers.calls import Call, Tensor

__all__ = ["Graph", "find_functional", "is_readable", "read_graph"]


@dataclass(frozen=True)
class Graph:
    """The calls of a model in an order in which they can be run.

    Parameters
    ----------
    calls
        Every call, input layers included; a nested model is one call.
    tensors
        Every tensor, in the order of :attr:`Tensor.index`.
    inputs, outputs
        Indices of the tensors that the model receives and returns, in the order of
        ``keras.tree.flatten``.
    nested
        Name of a nested model -> its own graph.
    """

    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nested: Mapping[str, Graph]

    def producer(self, tensor: int) -> Call:
        """Return the call that makes a tensor; that of an input layer for an input of the model."""
        return self._producers[tensor]

    def receivers(self, tensor: int) -> tuple[Call, ...]:
        """Return the calls that receive a tensor, once for each time that they do."""
        return self._receivers.get(tensor, ())

    @cached_property
    def _producers(self) -> dict[int, Call]:
        return {tensor.index: call for call in self.calls for tensor in call.outputs}

    @cached_property
    def _receivers(self) -> dict[int, tuple[Call, ...]]:
        found: dict[int, tuple[Call, ...]] = {}
        for call in self.calls:
            for tensor in call.inputs:
                found[tensor.index] = (*found.get(tensor.index, ()), call)
        return found

    def every_call(self) -> Iterator[Call]:
        """Iterate over all calls, those inside a nested model once for each time that it is called."""
        for call in self.calls:
            inner = self.nested.get(call.name) if isinstance(call.layer, keras.Model) else None
            if inner is None:
                yield call
            else:
                yield from inner.every_call()

    @cached_property
    def times_called(self) -> Counter[int]:
        """Number of times that one run of the model calls each layer, by the layer's id."""
        return Counter(id(call.layer) for call in self.every_call())


def is_readable(model: Any) -> bool:
    """Return whether a model is a built Sequential or Functional one that runs its own graph."""
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    own_call = owner.__module__.split(".")[0] != "keras"
    if own_call or not isinstance(model, (keras.Sequential, keras.Function)):
        return False
    return not isinstance(model, keras.Sequential) or find_functional(model) is not None


def read_graph(model: keras.Model) -> Graph:
    """Read the graph of a model.

    Parameters
    ----------
    model
        A model that :func:`is_readable`; :func:`fabricfit.network.reader.read` checks that.
    """
    function = find_functional(model)
    depths = sorted(function._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in function._nodes_by_depth[depth]]
    uses = Counter(id(node.operation) for node in nodes)
    tensors: dict[int, Tensor] = {}

    def tensor(keras_tensor: Any) -> Tensor:
        masked = getattr(keras_tensor, "_keras_mask", None) is not None
        new = Tensor(len(tensors), tuple(keras_tensor.shape), masked)
        return tensors.setdefault(id(keras_tensor), new)

    calls = tuple(
        Call(
            layer=node.operation,
            inputs=tuple(tensor(x) for x in node.input_tensors),
            outputs=tuple(tensor(x) for x in node.output_tensors),
            node=node,
            plain=_is_plain(node),
            shared=uses[id(node.operation)] > 1,
        )
        for node in nodes
    )
    inputs, outputs = (
        tuple(tensor(x).index for x in ends) for ends in (function.inputs, function.outputs)
    )
    nested = {
        call.name: read_graph(call.layer)
        for call in calls
        if isinstance(call.layer, keras.Model) and is_readable(call.layer)
    }
    return Graph(calls, tuple(tensors.values()), inputs, outputs, nested)


def find_functional(model: Any) -> Any:
    """Return the functional model that runs a Sequential one, None before it is built; others as they are."""
    return model._functional if isinstance(model, keras.Sequential) else model


def _is_plain(node: Any) -> bool:
    arguments = node.arguments
    tensors = sum(len(keras.tree.flatten(argument)) for argument in arguments.args[:1])
    extras = [*arguments.args[1:], *arguments.kwargs.values()]
    return tensors == len(node.input_tensors) and all(
        extra is None or extra is False for extra in extras
    )
