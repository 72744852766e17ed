"""Activations that HGQ2 looks up in a table with an entry for every input."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError, cast
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.layers.units import to_array

__all__ = ["look_up"]


@register("UnaryLUT")
def look_up(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Take the entry that all bits of an input address (``unary_lut`` in ``nnet_activation.h``)."""
    x, layer = inputs[0], weights.layer(node)
    signs, integers, fractions = (to_array(part) for part in layer.iq.quantizer.kif)
    signed, whole = bool(signs.max()), int(integers.max())
    width = signed + whole + int(fractions.max())
    if (x.format.width, x.format.signed) != (width, signed):
        raise NotModelledError(f"a table of {width} bits for inputs of {x.format.width}")
    addresses = np.arange(2**width)
    values = np.where(signed & (addresses >= 2 ** (width - 1)), addresses - 2**width, addresses)
    numbers = (values * 2.0 ** -int(fractions.max())).astype("float32")
    results = to_array(layer.activation(numbers)).reshape(
        -1, *(1 for _ in layer.oq.quantizer.k.shape[1:])
    )
    rounded = to_array(layer.oq(results)).reshape(-1).astype(float)
    entries = _hold(rounded, format_of(node, "table_t"))
    return cast(
        FixedTensor(entries.values[x.values % 2**width], entries.format), result_format(node)
    )


def _hold(numbers: np.ndarray, held: Format) -> FixedTensor:
    """Return numbers in a format that holds them as they are.

    Raises
    ------
    NotModelledError
        It does not.
    """
    scaled = numbers * 2.0**held.fractional
    lowest, highest = held.limits
    if (scaled != np.round(scaled)).any() or scaled.min() < lowest or scaled.max() > highest:
        raise NotModelledError(f"a table whose entries {held} does not hold")
    return FixedTensor(scaled.astype(np.int64), held)
