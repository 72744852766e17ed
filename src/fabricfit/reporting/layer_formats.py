"""Number formats of a layer, as a report tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.reporting.plain import read_count, read_text

__all__ = ["LayerFormats"]

_MOST_BITS = 4096
"""Bits of a weight that a file can tell of."""


@dataclass(frozen=True)
class LayerFormats:
    """Number formats of a layer whose precision was trained.

    Parameters
    ----------
    name
        The layer's name; of a kernel of a layer with several, the layer's and its own.
    weights
        Bit widths of weights, from the first bit that is set to the last, and how many weights have each; 0
        for weights that are zero.
    inputs
        Formats of the layer's input, and how many channels have each; a single one where the tensor has one.
    """

    name: str
    weights: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[str, int], ...]

    @property
    def mean_bits(self) -> float:
        """Mean bits of the weights that are not zero."""
        kept = [(bits, count) for bits, count in self.weights if bits]
        total = sum(count for _, count in kept)
        return sum(bits * count for bits, count in kept) / total if total else 0.0

    @property
    def text(self) -> str:
        """The formats of the input in a few words."""
        if len(self.inputs) == 1:
            return self.inputs[0][0]
        return f"{sum(count for _, count in self.inputs)} channels in {len(self.inputs)} formats"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LayerFormats:
        """Return the formats that plain data describe, each value checked."""
        return cls(
            read_text(values["name"]),
            tuple((_read_bits(bits), read_count(count)) for bits, count in values["weights"]),
            tuple((read_text(each), read_count(count)) for each, count in values["inputs"]),
        )


def _read_bits(value: Any) -> int:
    bits = read_count(value)
    if bits > _MOST_BITS:
        raise ValueError(f"at most {_MOST_BITS} bits were expected. Received: {value!r}")
    return bits
