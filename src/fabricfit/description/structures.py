"""The structures of weights that fabricfit can prune or share as a unit."""

from __future__ import annotations

from enum import Enum

__all__ = ["SUPPORTED_STRUCTURES"]


class SUPPORTED_STRUCTURES(Enum):  # noqa: N801 - the historical public name
    """How the weights of a kernel are divided into groups that are kept or removed as a whole.

    What each one means for a tensor is written in :mod:`fabricfit.description.grouping`.
    """

    UNSTRUCTURED = "unstructured"
    """Every weight is a group of its own: sparse formats, and hls4ml's Latency strategy."""

    STRUCTURED = "structured"
    """All weights of one output unit: a Dense neuron, a convolution's filter."""

    PATTERN = "pattern"
    """The run of weights that one multiplier serves over its reuse-factor cycles."""

    BLOCK = "block"
    """A rectangle of the (inputs, outputs) matrix, for SIMD and blocked kernels."""
