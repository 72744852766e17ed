"""Costs of single weights in a layer of constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fabricfit.hardware.constants import lut_of_constants
from fabricfit.hardware.dsp import product_dsp
from fabricfit.hardware.luts_and_ffs import product_ff
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.resource_records import ProductLaw, resource_kinds
from fabricfit.hardware.resources import RESOURCES
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = ["EASY_SHARE", "WeightCosts", "weight_costs"]

EASY_SHARE = 0.1
"""Part of the values a weight may end at that have two signed digits: of the numbers up to 1,024, 9 %."""


@dataclass(frozen=True)
class WeightCosts:
    """Costs of one weight of a layer of constants, by what it is; resource -> amount.

    Parameters
    ----------
    settled
        Signed digits -> costs of a constant with that number of them, which needs no multiplier.
    kept
        Costs of a weight whose value is not settled yet.
    distinct
        Costs of each different one of those values on one input in addition.
    """

    settled: Mapping[int, Mapping[str, float]]
    kept: Mapping[str, float]
    distinct: Mapping[str, float]


def weight_costs(product: Product, target: TargetLike = DEFAULT_TARGET) -> WeightCosts:
    """Divide the estimate of a layer of constants among its weights.

    Resources that are not built in are divided by the differences that their law makes.

    Parameters
    ----------
    product
        A product that is not time-multiplexed.
    target
        As for :func:`fabricfit.hardware.resources.product_resources`.
    """
    check_product(product)
    chosen = find_target(target)
    costs = _cost_built_in(product, chosen)
    for kind in resource_kinds():
        if kind.name not in RESOURCES and kind.law is not None:
            costs = _add_resource(costs, kind.name, kind.law, product, chosen)
    return costs


def _add_resource(
    costs: WeightCosts, name: str, law: ProductLaw, product: Product, target: Target
) -> WeightCosts:
    """Add a resource by the differences that its law makes between layers of equal weights."""
    empty = law(product, Work(0, 0, 0, 0, 0), target).value

    def per_weight(work: Work) -> float:
        return max(law(product, work, target).value - empty, 0.0) / product.size

    size = product.size
    settled = {
        digits: {
            **amounts,
            name: per_weight(
                Work(product.multipliers, size, 0, size if digits == 2 else 0, digits * size)
            ),
        }
        for digits, amounts in costs.settled.items()
    }
    return replace(
        costs, settled=settled, kept={**costs.kept, name: per_weight(Work.full(product))}
    )


def _cost_built_in(product: Product, target: Target) -> WeightCosts:
    parts, full = lut_of_constants(product, target), Work.full(product)
    digits = full.digits / product.size
    ff_weight, ff_constant = _count_registers(product, full, target)
    most = product.weight_width // 2 + 1
    if product.by_adders:
        settled = {n: {"lut": n * parts.per_digit, "ff": ff_weight} for n in range(1, most + 1)}
        return WeightCosts(settled, {"lut": digits * parts.per_digit, "ff": ff_weight}, {})
    weight = {"lut": parts.per_nonzero, "ff": ff_weight}
    dsp = (
        product_dsp(product, replace(full, constants=product.size, wide=-1), target).value
        / product.size
    )

    def multiple(further: float) -> float:
        return parts.per_nonzero + parts.per_adder + further * parts.per_digit

    settled = {1: weight, 2: {**weight, "lut": multiple(0)}}
    if dsp:
        beside = parts.per_multiplier + EASY_SHARE * (parts.per_adder - parts.per_multiplier)
        return WeightCosts(settled, weight, {"dsp": dsp, "lut": beside, "ff": ff_constant})
    settled |= {n: {**weight, "lut": multiple(n - 2)} for n in range(3, most + 1)}
    beside = multiple(max(digits - 2, 0)) - parts.per_nonzero
    return WeightCosts(settled, weight, {"lut": beside, "ff": ff_constant})


def _count_registers(product: Product, full: Work, target: Target) -> tuple[float, float]:
    """Return the flip-flops that go with a weight and with a multiplier, on average over a full layer."""
    sums = replace(full, constants=0, adders=0)
    nothing = product_ff(product, Work(0, 0, 0, 0, 0), target).value
    weights = product_ff(product, sums, target).value - nothing
    rest = product_ff(product, full, target).value - nothing - weights
    return max(weights, 0) / product.size, max(rest, 0) / max(full.constants, 1)
