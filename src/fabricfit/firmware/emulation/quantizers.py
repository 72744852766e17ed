"""HGQ2's quantizers between layers, with a format for each number or for each unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, cast_each
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
    return cast_each(given, formats, modes, result)
