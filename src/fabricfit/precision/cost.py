"""What a network with trained precision costs, estimated from the bits of its weights and tensors.

An adder for each signed digit of a weight but the first of a sum, as wide as the input: over many networks
1.09 LUTs for each digit times each bit of the input, within about a tenth of the adder graph of the whole
network. That graph is traced once the precision is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabricfit.hardware.product import csd_digits
from fabricfit.precision.layers import TrainedProduct, sum_by_channel
from fabricfit.precision.model import PrecisionModel

__all__ = ["LayerCost", "estimate_costs", "estimate_luts"]

LUTS_PER_DIGIT_BIT = 1.09


@dataclass(frozen=True)
class LayerCost:
    """Estimated cost of the products of one kernel.

    Parameters
    ----------
    luts
        LUTs, all instances together.
    nonzeros
        Weights other than zero.
    digits
        Their signed digits.
    bits
        Bits of weights times bits of inputs, all instances together: what a price is paid for.
    """

    luts: float
    nonzeros: int
    digits: int
    bits: float


def estimate_costs(made: PrecisionModel) -> dict[str, LayerCost]:
    """Return the cost of each kernel whose weights are rounded, with the widths of the last batch."""
    return {name: _estimate_product(product) for name, product in made.products.items()}


def estimate_luts(made: PrecisionModel) -> float:
    """Return the LUTs of all layers whose weights are rounded."""
    return sum(cost.luts for cost in estimate_costs(made).values())


def _estimate_product(product: TrainedProduct) -> LayerCost:
    sizes, widths = np.abs(product.integers), product.widths
    digits = csd_digits(sizes)
    leading = np.frexp(sizes.astype(np.float64))[1]
    luts, bits = (
        float(sum_by_channel(product.kernel, found, len(widths), np) @ widths) * product.instances
        for found in (digits, leading)
    )
    nonzeros = int(np.count_nonzero(sizes))
    return LayerCost(LUTS_PER_DIGIT_BIT * luts, nonzeros, int(digits.sum()), bits)
