"""Formats of layers that read tables, divide or scale: enough that their results are what counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fabricfit.layers import scale_and_offset_of
from fabricfit.layers.calls import Call
from fabricfit.precision.formats import TensorFormat

__all__ = ["Statement", "average_formats", "scaling_formats", "table_formats", "table_options"]

Statement = tuple[str, str]
"""The name of numbers in hls4ml's precisions, and their format."""

_LEAST_ENTRIES = 1024
_MOST_ENTRIES = 16384
_GUARD = 2
"""Bits behind the last one of results, so that rounding what they are made of does not count."""
_ADDRESS = 18


def table_formats(function: Any, result: TensorFormat, channels: int) -> Iterator[Statement]:
    """Yield formats of the tables of an activation, and of what a softmax makes of them.

    hls4ml passes over precisions of tables, and reads their types, ``exp_table_t`` and others, in the section
    of the layer itself.

    Parameters
    ----------
    function
        The activation, a function of Keras.
    result
        The format of its results.
    channels
        Numbers that a softmax normalizes.
    """
    fractional = result.fractional + _GUARD
    if function is not keras.activations.softmax:
        integer = result.signed_integer + 1
        yield "table_t", str(TensorFormat(fractional, integer, True))
        return
    carry = math.ceil(math.log2(max(channels, 2)))
    finest = max(fractional, 10)
    yield "exp_table_t", str(TensorFormat(finest, 2, True))
    yield "accum", str(TensorFormat(finest, carry + 2, True))
    yield "inv_inp_t", str(TensorFormat(_ADDRESS - carry - 1, carry + 1, False))
    yield "inv_table_t", str(TensorFormat(finest + carry, 2, True))


def table_options(function: Any, result: TensorFormat, attempt: int) -> Iterator[tuple[str, int]]:
    """Yield the size of the tables of an activation: more entries with every attempt."""
    entries = _LEAST_ENTRIES
    if function is not keras.activations.softmax:
        entries = 2 ** (result.fractional + 3)
    entries = min(max(entries, _LEAST_ENTRIES) << attempt, _MOST_ENTRIES)
    if entries != _LEAST_ENTRIES:
        yield "TableSize", entries


def scaling_formats(layer: Any, result: int, largest: float) -> Iterator[Statement]:
    """Yield formats of what a normalization multiplies by and adds.

    Parameters
    ----------
    layer
        The layer.
    result
        Fractional bits of its results.
    largest
        Size of the largest number that it receives.
    """
    found = scale_and_offset_of(layer)
    assert found is not None
    reach = max(math.ceil(math.log2(max(largest, 1e-9))), 0)
    for key, numbers, bits in (
        ("scale", found[0], result + reach + _GUARD),
        ("bias", found[1], result + _GUARD),
    ):
        rounded = np.ldexp(np.rint(np.ldexp(np.asarray(numbers, np.float64), bits)), -bits)
        form = TensorFormat.covering(bits, min(float(rounded.min()), 0.0), float(rounded.max()))
        yield key, str(TensorFormat(bits, form.signed_integer, True))


def average_formats(call: Call, received: TensorFormat, result: int) -> Iterator[Statement]:
    """Yield the format of the sums of an average pooling, which it divides where they are.

    Parameters
    ----------
    call
        The call of the layer.
    received
        The format of what it receives.
    result
        Fractional bits of its results.
    """
    size: Any = getattr(call.layer, "pool_size", call.inputs[0].shape[1:-1])
    count = int(np.prod(np.atleast_1d(size)))
    integer = received.signed_integer + math.ceil(math.log2(max(count, 1)))
    yield "accum", str(TensorFormat(max(received.fractional, result + _GUARD), integer, True).plain)
