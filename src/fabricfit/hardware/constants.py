"""LUTs and flip-flops of products whose weights are constants: Latency, and Resource with RF = 1.

Trees of adders over the non-zero weights, and shift-and-add multiples of the inputs for weights that use no
DSP. With RF > 1 the multipliers are shared, which LUTs hardly feel; their results wait in flip-flops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2

import numpy as np

from fabricfit.hardware import calibration as known
from fabricfit.hardware.dsp import constants_in_dsps, count_multipliers
from fabricfit.hardware.product import Product, Work, check_product, csd_digits
from fabricfit.hardware.schedule import Schedule, longest_sum, plan_schedule
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = ["ConstantCosts", "constants_ff", "constants_lut", "fits_one_cycle", "lut_of_constants"]


@dataclass(frozen=True)
class ConstantCosts:
    """LUTs of the parts of a product with constants, for all positions computed at once.

    Parameters
    ----------
    per_nonzero
        Adding the product of one non-zero weight to its sum.
    per_adder
        A multiple of an input by a constant of two signed digits.
    per_digit
        Each further digit of a constant, where its product is built without a DSP.
    per_multiplier
        LUTs beside the DSP of a product that uses one.
    """

    per_nonzero: float
    per_adder: float
    per_digit: float
    per_multiplier: float


def lut_of_constants(product: Product, target: TargetLike = DEFAULT_TARGET) -> ConstantCosts:
    """Return what parts of a product with constants cost; :func:`product_lut` is their sum.

    With distributed arithmetic each digit of each weight is one addition as wide as the sum, before
    equal parts are shared.
    """
    check_product(product)
    return _cost_parts(product, find_target(target), product.accumulator_width)


def _cost_parts(product: Product, target: Target, width: float) -> ConstantCosts:
    laws, copies = target.laws, product.copies
    if product.by_adders:
        addition = float(product.accumulator_width * copies)
        return ConstantCosts(addition, addition, addition, 0.0)
    adder = product.input_width + laws.adder_extra
    staged = laws.stages and target.product_ns > target.usable_ns and product.reuse_factor == 1
    wrapper = laws.staged_wrapper_lut if staged else laws.wrapper_lut
    return ConstantCosts(
        per_nonzero=copies * (width + laws.tree_extra),
        per_adder=copies * laws.multiple_adders * adder,
        per_digit=float(copies * adder),
        per_multiplier=float(copies * wrapper if product.strategy == "latency" else 0),
    )


def constants_lut(product: Product, work: Work, target: Target) -> float:
    """Return the LUTs of a product with constants, or with distributed arithmetic.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do.
    target
        What it is built for and with.
    """
    laws = target.laws
    costs = _cost_parts(product, target, _width_of_sums(product, work))
    if product.by_adders:
        return costs.per_digit * work.digits
    in_dsps = constants_in_dsps(product, work, target)
    in_fabric = work.hard - in_dsps
    if laws.wide_product is None and in_dsps:  # Vivado HLS: small ones cost what is beside a DSP
        in_dsps, in_fabric = work.hard, 0
    additions = work.nonzeros if laws.adds_bias else max(work.nonzeros - product.n_out, 0)
    total = (
        additions * costs.per_nonzero
        + work.adders * costs.per_adder
        + in_dsps * costs.per_multiplier
    )
    if product.reuse_factor > 1 and laws.stages:
        return total + _count_shared_lut(product, work, target, in_fabric)
    return total + in_fabric * _cost_in_fabric(product, work, target, costs)


def _cost_in_fabric(product: Product, work: Work, target: Target, costs: ConstantCosts) -> float:
    """Return the LUTs of one product with a hard constant that is built without a DSP."""
    if target.laws.multiplies_in_arrays:
        return float(product.copies * (product.weight_width * product.input_width - 2))
    further = _count_hard_digits(product, work) - 2
    return costs.per_adder + further * costs.per_digit


def _count_hard_digits(product: Product, work: Work) -> float:
    """Return the mean number of signed digits of the constants that have more than two."""
    if work.hard and work.hard_digits >= 0:
        return work.hard_digits / work.hard
    mean = _average_hard_digits(product.weight_width)
    if not work.hard:
        return mean
    beyond = (work.digits - work.nonzeros - work.adders) / work.hard
    return min(max(1 + beyond, 3.0), mean)


def _count_shared_lut(product: Product, work: Work, target: Target, in_fabric: float) -> float:
    """Return the LUTs of multipliers that constants share, and of what picks their operands."""
    shared = count_multipliers(product, work)
    turns = ceil(work.hard / shared) if work.hard else 0
    lut = 0.0
    if turns > 1:
        each, turn = target.laws.shared_lut
        lut += each * work.hard + turn * turns
    if in_fabric:
        array = product.weight_width * product.input_width - 2
        lut += shared * array * (in_fabric / max(work.hard, 1))
    return product.copies * lut


def _width_of_sums(product: Product, work: Work) -> float:
    """Return the bits of a sum that can change: the accumulator's, or fewer of small numbers."""
    if work.span < 0:
        return product.accumulator_width
    needed = product.input_width + work.span + ceil(log2(longest_sum(product, work) + 1))
    return min(product.accumulator_width, max(needed, 1))


def constants_ff(product: Product, work: Work, target: Target) -> tuple[float, float, float]:
    """Return the flip-flops of a product with constants, and those of it with a cycle less and one more.

    The arguments are those of :func:`constants_lut`.
    """
    if product.strategy == "latency" and (target.laws.stages or not target.is_calibrated):
        value, less, more = (
            _count_staged_ff(product, work, target, plan_schedule(product, work, target, cycles))
            for cycles in (0, -1, 1)
        )
        return value, less, more
    fitted = _count_fitted_ff(product, work)
    return fitted, fitted, fitted


def _count_fitted_ff(product: Product, work: Work) -> float:
    """Return what was fitted to reports of Vivado HLS 2020.1 at 5 ns."""
    width, constants = product.accumulator_width, work.hard
    inputs, outputs = product.n_in * product.input_width, product.n_out * width
    registered = known.PRODUCT_FF * width * constants + known.MULTIPLE_FF * width * work.adders
    if product.strategy != "latency":
        return outputs + registered
    cut = width * (known.TREE_FF * work.nonzeros + known.TREE_PRODUCT_FF * constants)
    waiting = 0.0
    if constants and product.reuse_factor > 1:
        waiting = known.WAITING_PRODUCT_FF * width * constants
        waiting += known.WAITING_MULTIPLE_FF * product.input_width * work.adders
    first = 1 / product.reuse_factor
    return inputs + first * outputs + (first if waiting else 1.0) * cut + (1 - first) * waiting


def _count_staged_ff(product: Product, work: Work, target: Target, plan: Schedule) -> float:
    """Return the numbers that wait at the end of each cycle, see :mod:`fabricfit.hardware.schedule`."""
    width = _width_of_sums(product, work)
    inputs = product.n_in * product.input_width
    distinct = work.hard + work.adders
    hard = min(constants_in_dsps(product, work, target) / max(work.nonzeros, 1), 1.0)
    shared = product.reuse_factor > 1
    registers = 0.0
    if plan.product_states >= 1 and plan.states > 1:
        waits = 1 if shared else plan.product_states
        registers += inputs * waits + width * distinct
        left = [part for part in plan.terms_left if part < 1]
        registers += width * work.nonzeros * sum(left) * (_SHARED_SUMS if shared else 1.0)
    else:
        bare = sum(plan.bare_terms_left)
        registers += width * work.nonzeros * (hard * sum(plan.terms_left) + (1 - hard) * bare)
        if shared and distinct:
            registers += width * distinct
    if not target.laws.stages and plan.states > 1:
        registers += inputs + product.n_out * width
    elif product.io_type == "io_stream" and plan.product_states < 1:
        registers += inputs  # read from a stream, not passed on by the layer before
    return registers


_SHARED_SUMS = 0.5
"""Part of a tree's registers that is left where a layer takes a new sample every second cycle or later: each
register serves two cycles."""


def fits_one_cycle(product: Product, work: Work, target: Target) -> bool:
    """Whether a Latency layer can be done between its input registers and the next layer's."""
    if not product.by_constants or product.strategy != "latency":
        return False
    if target.laws.stages or not target.is_calibrated:
        return False
    only_sums = not (work.hard or work.adders)
    return only_sums and work.nonzeros <= known.SUMS_IN_ONE_CYCLE * product.n_out


@lru_cache(maxsize=64)
def _average_hard_digits(weight_width: int) -> float:
    """Return the mean number of signed digits of all constants of a width that have more than two."""
    digits = csd_digits(np.arange(2 ** min(max(weight_width - 1, 5), 16)))
    return float(digits[digits > 2].mean())
