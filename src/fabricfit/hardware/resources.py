"""All resources of one layer, and what single weights of it take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fabricfit.hardware.bram import product_memory
from fabricfit.hardware.calibration import elsewhere
from fabricfit.hardware.dsp import product_dsp
from fabricfit.hardware.estimates import Resources
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hardware.luts_and_ffs import lut_of_constants, product_ff, product_lut
from fabricfit.hardware.product import Product, Work

__all__ = ["EASY_SHARE", "WeightCosts", "product_resources", "weight_costs"]


def product_resources(product: Product, work: Work, family: str = DEFAULT_FAMILY) -> Resources:
    """Estimate what a layer's matrix product takes.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do: :meth:`Work.of` a kernel, or :meth:`Work.full`.
    family
        A name of :func:`fabricfit.hardware.families`. LUTs and flip-flops were measured on one only; for
        others they have wider error bars.
    """
    return Resources(
        dsp=product_dsp(product, work, family),
        bram18=product_memory(product, work, family),
        lut=elsewhere(product_lut(product, work), family),
        ff=elsewhere(product_ff(product, work), family),
    )


EASY_SHARE = 0.1
"""Part of the values a weight may end at that have two signed digits: of the numbers up to 1,024, 9 %."""


@dataclass(frozen=True)
class WeightCosts:
    """What one weight of a layer of constants takes, by what it is; resource -> amount.

    Parameters
    ----------
    settled
        Signed digits -> what a constant of so many takes that needs no multiplier.
    kept
        What a weight takes whose value is not settled yet.
    distinct
        What each different one of those values on one input takes beside.
    """

    settled: Mapping[int, Mapping[str, float]]
    kept: Mapping[str, float]
    distinct: Mapping[str, float]


def weight_costs(product: Product, family: str = DEFAULT_FAMILY) -> WeightCosts:
    """Take a layer of constants apart: what its estimates come to for single weights.

    Parameters
    ----------
    product
        A product that is not time-multiplexed.
    family
        As for :func:`product_resources`.
    """
    parts, full = lut_of_constants(product), Work.full(product)
    digits = full.digits / product.size
    ff_weight, ff_constant = _registers(product, full)
    most = product.weight_width // 2 + 1
    if product.by_adders:
        settled = {n: {"lut": n * parts.per_digit, "ff": ff_weight} for n in range(1, most + 1)}
        return WeightCosts(settled, {"lut": digits * parts.per_digit, "ff": ff_weight}, {})
    weight = {"lut": parts.per_nonzero, "ff": ff_weight}
    dsp = product_dsp(product, replace(full, constants=product.size), family).value / product.size

    def multiple(further: float) -> float:
        return parts.per_nonzero + parts.per_adder + further * parts.per_digit

    settled = {1: weight, 2: {**weight, "lut": multiple(0)}}
    if dsp:
        beside = parts.per_multiplier + EASY_SHARE * (parts.per_adder - parts.per_multiplier)
        return WeightCosts(settled, weight, {"dsp": dsp, "lut": beside, "ff": ff_constant})
    settled |= {n: {**weight, "lut": multiple(n - 2)} for n in range(3, most + 1)}
    beside = multiple(max(digits - 2, 0)) - parts.per_nonzero
    return WeightCosts(settled, weight, {"lut": beside, "ff": ff_constant})


def _registers(product: Product, full: Work) -> tuple[float, float]:
    """Return the flip-flops that go with a weight and with a multiplier, on average over a full layer."""
    sums = replace(full, constants=0, adders=0)
    nothing = product_ff(product, Work(0, 0, 0, 0, 0)).value
    weights = product_ff(product, sums).value - nothing
    rest = product_ff(product, full).value - nothing - weights
    return max(weights, 0) / product.size, max(rest, 0) / max(full.constants, 1)
