"""HGQ2's quantizers between layers, with a format for each number or for each unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, cast
from fabricfit.firmware.emulation.registry import register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = ["quantizer"]


@register("FixedPointQuantizer")
def quantizer(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Cast every number to its own format, and all of them to the one that holds them."""
    given, result = inputs[0], result_format(node)
    modes = str(node.get_attr("RND")), str(node.get_attr("SAT"))
    formats = np.stack(
        [
            np.broadcast_to(np.asarray(part, np.int64), (1, *given.shape[1:]))[0].reshape(-1)
            for part in node.get_attr("mask_kbi")
        ],
        axis=1,
    )
    flat = given.values.reshape(len(given.values), -1)
    values = np.zeros(flat.shape, np.int64)  # of no bits: nothing but zero
    for sign, width, integer in np.unique(formats, axis=0).tolist():
        if width > 0:
            own = (formats == (sign, width, integer)).all(axis=1)
            form = Format(width, integer, bool(sign), *modes)
            values[:, own] = cast(
                cast(FixedTensor(flat[:, own], given.format), form), result
            ).values
    return FixedTensor(values.reshape(given.shape), result)
