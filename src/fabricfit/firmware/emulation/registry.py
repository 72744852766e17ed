"""Functions that emulate layers, by the class of a node in hls4ml's graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError
from fabricfit.layers import LayerFamily, family_of_node

if TYPE_CHECKING:
    from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = ["find", "format_of", "is_stream", "register", "result_format"]

Emulator = Callable[[Any, list[FixedTensor], "KerasWeights"], FixedTensor]
"""Computes a layer from its node in hls4ml's graph, its inputs (samples first) and the weights."""

_EMULATORS: dict[str, Emulator] = {}


def register(*kinds: str) -> Callable[[Emulator], Emulator]:
    """Register a function for layers of these classes of hls4ml's graph."""

    def add(function: Emulator) -> Emulator:
        _EMULATORS.update(dict.fromkeys(kinds, function))
        return function

    return add


def find(node: Any) -> Emulator:
    """Return the function that emulates a node: its family's, or that of hls4ml's own node class.

    Raises
    ------
    NotModelledError
        There is none.
    """
    family = family_of_node(node.class_name)
    if family is not None and type(family).emulate is not LayerFamily.emulate:
        return family.emulate
    try:
        return _EMULATORS[node.class_name]
    except KeyError:
        raise NotModelledError(f"layers of the class {node.class_name}") from None


def result_format(node: Any) -> Format:
    """Return the number format of a layer's results."""
    return Format.of(node.get_output_variable().type.precision)


def format_of(node: Any, attribute: str) -> Format:
    """Return the number format that an attribute such as ``'accum_t'`` holds."""
    return Format.of(node.get_attr(attribute).precision)


def is_stream(node: Any) -> bool:
    """Whether the project passes one pixel after the other (``io_stream``)."""
    return node.model.config.get_config_value("IOType") == "io_stream"
