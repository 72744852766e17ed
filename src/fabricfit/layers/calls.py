"""One application of a layer to tensors, as plain data, each tensor with its units on the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Tensor"]


@dataclass(frozen=True)
class Tensor:
    """What one layer call hands to others.

    Parameters
    ----------
    index
        Position among the tensors of the graph.
    shape
        Shape with the batch axis; ``None`` where a size is not known.
    masked
        Whether Keras carries a mask (of time steps) along with it.
    """

    index: int
    shape: tuple[int | None, ...]
    masked: bool = False

    @property
    def units(self) -> int | None:
        """Size of the last axis, or ``None`` where the tensor has no such axis of known size."""
        return self.shape[-1] if len(self.shape) > 1 else None


@dataclass(frozen=True)
class Call:
    """One application of a layer to tensors.

    Parameters
    ----------
    layer
        The layer, or the Keras operation, that is applied.
    inputs, outputs
        The tensors that go in and come out, in the order of the arguments.
    node
        Keras' own record of the call.
    plain
        Whether nothing but the input tensors was passed (no ``training=True``, no mask).
    shared
        Whether the model applies the layer more than once.
    """

    layer: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    node: Any
    plain: bool
    shared: bool

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.name)

    @property
    def output(self) -> Tensor:
        """The only output, for layers that have one."""
        return self.outputs[0]
