"""Initiation interval and latency of a layer, in cycles.

Measured on 523 runs of Vivado HLS 2020.1 (one dense layer with ``io_parallel``, 5 ns). For
convolutions the cycles of one position are multiplied by the positions, as in hls4ml's loops; what
filling their line buffers and emptying their pipelines needs was not measured.
"""

from __future__ import annotations

from math import ceil, log2

from fabricfit.hardware.calibration import LARGE_REUSE, outside
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.product import Product, Work

__all__ = ["product_interval", "product_latency"]

_LEVELS_PER_CYCLE = 7
"""Levels of adders that 5 ns and one register were seen to suffice for: 96 inputs."""


def product_interval(product: Product, work: Work) -> Estimate:
    """Estimate the initiation interval of a layer for one sample, in cycles.

    - Time-multiplexed: RF, in 435 of 435 runs.
    - Latency with RF = 1: 1. Resource with RF = 1: 2, or 1 where all is done within a cycle.
    - Latency with RF > 1: RF is what hls4ml allows the compiler, and the limit on multipliers that
      goes with it. The layer restarts as soon as its shared multipliers are through:
      ``ceil(constants / multipliers) + 2``, at most RF, with ``ceil(nonzeros / RF)`` multipliers
      and one more with RF above 512. Right in all runs with weights of 8 bits and more; without
      such constants it is 3, or 1 where all is done within a cycle.
    - A layer of several positions: so many times that, divided by the positions computed at once.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do; only Latency with RF > 1 heeds it.
    """
    steps = _count_steps(product)
    return _make_estimate(product, *(steps * cycles for cycles in _count_interval(product, work)))


def product_latency(product: Product, work: Work) -> Estimate:
    """Estimate the cycles from a layer's input to its last result for one sample.

    - Time-multiplexed: RF + 1, in the best case or the worst; they differ by one cycle. Narrow
      products can do with one less. Where several multipliers serve one output, their sum may need
      a cycle for every level of its tree.
    - Constants with RF = 1: 1 up to 96 inputs, 0 where all is done within a cycle.
    - Latency with RF > 1: one cycle less than its interval.
    - A layer of several positions: the latency of the last one after the intervals of the others.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do; only constants with RF > 1 heed it.
    """
    before = _count_steps(product) - 1
    pairs = zip(_count_latency(product, work), _count_interval(product, work), strict=True)
    return _make_estimate(product, *(last + before * interval for last, interval in pairs))


def _count_interval(product: Product, work: Work) -> tuple[int, int, int]:
    """Return value, low and high of one step, before it is repeated for the positions."""
    reuse = product.reuse_factor
    if product.time_multiplexed or product.by_adders:
        return reuse, reuse, reuse
    if reuse == 1:
        return (1, 1, 1) if product.strategy == "latency" else (2, 1, 2)
    cycles = _count_shared_cycles(product, work)
    if not cycles:
        return min(reuse, 3), 1, reuse if reuse < LARGE_REUSE else 3
    value = min(reuse, cycles + 2)
    return value, max(1, value - 1), reuse if reuse < LARGE_REUSE else value + 1


def _count_latency(product: Product, work: Work) -> tuple[int, int, int]:
    reuse = product.reuse_factor
    if product.time_multiplexed:
        summed = ceil(log2(max(1.0, product.n_in / reuse)))
        return reuse + 1, reuse, reuse + 2 + summed
    cut = ceil(log2(max(2, product.n_in)) / _LEVELS_PER_CYCLE)
    if product.by_adders:
        return cut, 0, 2 * cut + reuse - 1
    if reuse == 1:
        return cut, 0, cut
    cycles = _count_shared_cycles(product, work)
    return (cycles + 1, cycles, cycles + 2) if cycles else (2, 0, 2 * cut)


def _count_shared_cycles(product: Product, work: Work) -> int:
    """Return the cycles in which shared multipliers form all products."""
    units = max(1, ceil(work.nonzeros / product.reuse_factor))
    if product.reuse_factor > LARGE_REUSE:
        units += 1
    return ceil((work.constants + work.small) / units)


def _count_steps(product: Product) -> int:
    return ceil(product.positions / product.copies)


def _make_estimate(product: Product, value: int, low: int, high: int) -> Estimate:
    """Stretch the upper end outside the measurements; no layer is quicker than its loop."""
    note, factor = outside(product)
    return Estimate(value, low, ceil(high * factor), note)
