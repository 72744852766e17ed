"""Fractional bits within a loss: a bit less where it costs the least for what it saves.

Rounding to f fractional bits adds an error that is uniform over a step of 2^-f, of variance 4^-f / 12, whose
expected loss is half of that times the curvature of the loss: c · 4^-f for each tensor. One bit less
multiplies it by four. Bits are taken away one by one, always the one of the least loss for what it saves,
until the next one would exceed what is allowed. As each further bit of a tensor costs more, that is the
choice of the Lagrangian relaxation, with the rest of the allowance filled.

References
----------
Z. Dong et al., "HAWQ-V2: Hessian aware trace-weighted quantization of neural networks", NeurIPS 2020,
arXiv:1911.03852; Z. Yao et al., "HAWQ-V3: Dyadic neural network quantization", ICML 2021, arXiv:2011.10680.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["MOST_FRACTIONAL", "choose_bits", "loss_of"]

MOST_FRACTIONAL = 20
"""Most fractional bits of any numbers."""


def loss_of(coefficients: ArrayLike, bits: ArrayLike) -> np.ndarray:
    """Return the expected loss of each tensor at so many fractional bits."""
    return np.asarray(coefficients, float) * np.exp2(-2.0 * np.asarray(bits, float))


def choose_bits(
    coefficients: ArrayLike,
    savings: Sequence[float],
    allowed: float,
    least: Sequence[int],
    most: int = MOST_FRACTIONAL,
) -> list[int]:
    """Return fractional bits whose expected losses add up to no more than what is allowed.

    Parameters
    ----------
    coefficients
        Expected loss of each tensor at no fractional bits; it falls by four with each bit.
    savings
        What a bit less of each saves.
    allowed
        Most that the losses may add up to. Where even the most bits exceed it, these are returned.
    least, most
        Fewest bits of each, and most of all.
    """
    bits = [max(most, each) for each in least]
    losses = loss_of(coefficients, bits)
    total = float(losses.sum())

    def price(place: int) -> float:
        return 3 * losses[place] / max(savings[place], 1e-30)

    waiting = [(price(place), place) for place in range(len(bits)) if bits[place] > least[place]]
    heapq.heapify(waiting)
    while waiting:
        _, place = heapq.heappop(waiting)
        more = 3 * losses[place]
        if total + more > allowed and more > 0:
            continue  # a cheaper one of another tensor may still fit
        bits[place] -= 1
        losses[place] *= 4
        total += more
        if bits[place] > least[place]:
            heapq.heappush(waiting, (price(place), place))
    return bits
