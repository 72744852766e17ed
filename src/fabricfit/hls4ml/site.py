"""One call of a layer as hls4ml is asked to build it: what its limits are recognized by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Shape", "Site"]

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Site:
    """A call of a layer of a Keras model, with how it is to be built.

    Parameters
    ----------
    layer
        The layer, or the operation that is called without one. Only its attributes are read.
    name
        What it is called in a configuration.
    inputs, outputs
        Shapes of what it receives and returns, without the axis of samples.
    io_type, backend
        How data are passed, and hls4ml's backend.
    strategy, reuse_factor
        How hls4ml builds its products, if it has any.
    reuse_factors
        The reuse factor of each of its kernels.
    own_strategies
        What sections of their own say of the layer, if it has no kernel, and of its activation.
    weights
        Number of weights in its kernel.
    before
        The layer that makes its only input, if that goes nowhere else.
    result_is_open
        Whether hls4ml chooses the number format of the results of the layer before.
    masked
        Whether it receives a mask.
    called_with_more
        Whether it is called with more than its input tensors, such as initial states.
    """

    layer: Any
    name: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    io_type: str = "io_parallel"
    backend: str = "Vitis"
    strategy: str = ""
    reuse_factor: int = 1
    own_strategies: tuple[str, ...] = ()
    weights: int = 0
    before: Any = None
    result_is_open: bool = False
    masked: bool = False
    called_with_more: bool = False
    reuse_factors: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The layer's class."""
        return type(self.layer).__name__

    @property
    def package(self) -> str:
        """The package that the layer's class is of: HGQ2 has layers of the names that QKeras uses."""
        return type(self.layer).__module__.partition(".")[0]

    @property
    def is_keras(self) -> bool:
        """Whether the layer is Keras' own."""
        return self.package == "keras"

    @property
    def shape(self) -> Shape:
        """Shape of the first input."""
        return self.inputs[0] if self.inputs else ()

    @property
    def streams(self) -> bool:
        """Whether pixels are passed one after the other."""
        return self.io_type == "io_stream"

    def option(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the layer."""
        return getattr(self.layer, name, default)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return an attribute that is a number or several."""
        value = self.option(name, ())
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)

    def activation(self, attribute: str = "activation") -> str:
        """Return the name of an activation of the layer; ``'linear'`` where it has none."""
        function = self.option(attribute)
        if function is None:
            return "linear"
        return str(getattr(function, "__name__", type(function).__name__))

    def is_one_of(self, *kinds: str) -> bool:
        """Whether the layer is Keras' own and of one of these classes."""
        return self.is_keras and self.kind in kinds

    def inner(self) -> Iterator[Any]:
        """Iterate over the layers that do the work: those inside of a wrapper, else the layer."""
        both = [self.option("forward_layer"), self.option("backward_layer")]
        inside = [each for each in both if each is not None]
        yield from inside or [self.layer]

    @property
    def size(self) -> int:
        """Numbers in the first input, unknown lengths counted as one."""
        return math.prod(length or 1 for length in self.shape)
