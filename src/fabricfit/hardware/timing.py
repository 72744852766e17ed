"""Initiation interval and latency of a layer, in cycles.

Measured on 523 runs of Vivado HLS 2020.1 (one dense layer with ``io_parallel``, 5 ns). With other tools,
clocks and families, constants follow the schedule of :mod:`fabricfit.hardware.schedule`. Convolutions go
over the pixels of their padded input in a stream, over their output positions else.
"""

from __future__ import annotations

from math import ceil, log2

from fabricfit.hardware.calibration import LARGE_REUSE, outside
from fabricfit.hardware.dsp import count_multipliers, dsps_per_multiplier
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.schedule import CHAINED_FROM, longest_sum, plan_schedule
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = ["product_interval", "product_latency"]

_LEVELS_PER_CYCLE = 7
"""Levels of adders that 5 ns and one register were seen to suffice for: 96 inputs."""

_BALANCED_UP_TO = 2048
"""Weights of a layer of constants from which trees were seen to be out of balance, and a cycle or two
longer."""

_LINE_CYCLES = 2
"""Cycles a pixel beyond the latency of its product: Vitis HLS 2023.2 begins with a pixel when it is done
with the one before, in both of two layers; Vivado HLS with one each cycle."""

_STREAM_FILLING = (3, 4)
"""Cycles from the last pixel of a convolution with Latency to its last result: seen 3 to 4."""


def product_interval(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the initiation interval of a layer for one sample, in cycles.

    - Time-multiplexed: RF, in 435 of 435 runs.
    - Latency with RF = 1: 1. Resource with RF = 1: 2, or 1 where all is done within a cycle.
    - Latency with RF > 1: RF is what hls4ml allows the compiler, and the limit on multipliers that
      goes with it. The layer restarts as soon as its shared multipliers are through: ``min(RF, latency +
      1)``, in all rows of Vivado HLS 2020.1 and 38 of 38 of Vitis HLS 2021.1.
    - A layer of several positions: so many times that, divided by the positions computed at once.
    - A convolution in a stream: the pixels of its padded input, times RF and some cycles with Resource (11
      for 32 bits, in 7 of 7 layers); as many cycles as pixels, and three or four, with Latency (3 of 3).

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do; only Latency with RF > 1 heeds it.
    target
        What it is built for and with.
    """
    check_product(product, work)
    chosen = find_target(target)
    if product.is_windowed:
        return _estimate_stream(product, work, chosen)
    steps = _count_steps(product)
    cycles = _count_interval(product, work, chosen)
    return _make_estimate(product, chosen, *(steps * each for each in cycles))


def product_latency(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the cycles from a layer's input to its last result for one sample.

    - Time-multiplexed: RF + 1, in the best case or the worst; they differ by one cycle. Narrow
      products can do with one less. Where several multipliers serve one output, their sum may need
      a cycle for every level of its tree.
    - Constants with RF = 1: by Vivado HLS 2020.1 on UltraScale+ at 5 ns 1 up to 96 inputs, 0 where all is
      done within a cycle; else what the schedule says.
    - Latency with RF > 1: one cycle less than the interval; with Vitis HLS as long as the schedule of the
      sums, or as the shared multipliers need and a few cycles more.
    - A layer of several positions: the latency of the last one after the intervals of the others.
    - A convolution in a stream: as its interval.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do; only constants heed it.
    target
        What it is built for and with.
    """
    check_product(product, work)
    chosen = find_target(target)
    if product.is_windowed:
        return _estimate_stream(product, work, chosen)
    before = _count_steps(product) - 1
    latencies = _count_latency(product, work, chosen)
    intervals = _count_interval(product, work, chosen)
    pairs = zip(latencies, intervals, strict=True)
    return _make_estimate(product, chosen, *(last + before * each for last, each in pairs))


def _estimate_stream(product: Product, work: Work, target: Target) -> Estimate:
    """Estimate a convolution that goes over the pixels of a stream."""
    pixels = product.pixels or product.positions
    reuse = product.reuse_factor
    if not product.time_multiplexed and (reuse == 1 or product.by_adders):
        low, high = _STREAM_FILLING
        if not target.laws.stages:
            return _make_estimate(product, target, pixels + low, pixels, pixels + 4 * high)
        each = _count_latency(product, work, target)[0] + _LINE_CYCLES
        return _make_estimate(
            product, target, pixels * each + low, pixels, 2 * pixels * each + high
        )
    first, further = target.laws.stream_cycles
    pieces = max(dsps_per_multiplier(product.weight_width, product.input_width, target), 1)
    extra = first + further * (pieces - 1)
    cycles = (
        pixels * (reuse + extra) + target.laws.stages,
        pixels * reuse,
        pixels * (reuse + 2 * extra),
    )
    return _make_estimate(product, target, *cycles)


def _count_interval(product: Product, work: Work, target: Target) -> tuple[int, int, int]:
    """Return value, low and high of one step, before it is repeated for the positions."""
    reuse = product.reuse_factor
    if product.time_multiplexed or product.by_adders:
        return reuse, reuse, reuse
    if reuse == 1:
        return (1, 1, 1) if product.strategy == "latency" else (2, 1, 2)
    if target.laws.stages:
        value, low, high = (min(reuse, n + 1) for n in _count_latency(product, work, target))
        return value, low, high
    cycles = _count_shared_cycles(product, work)
    if not cycles:
        return min(reuse, 3), 1, reuse if reuse < LARGE_REUSE else 3
    value = min(reuse, cycles + 2)
    return value, max(1, value - 1), reuse if reuse < LARGE_REUSE else value + 1


def _count_latency(product: Product, work: Work, target: Target) -> tuple[int, int, int]:
    reuse = product.reuse_factor
    if product.time_multiplexed:
        return _count_loop(product, target)
    if product.by_adders or (
        product.by_constants and not target.laws.stages and target.is_calibrated
    ):
        return _count_fitted_latency(product, work)
    plan = plan_schedule(product, work, target)
    tree = plan.latency
    if reuse > 1:
        turns = ceil(work.hard / count_multipliers(product, work)) if work.hard else 0
        if turns > 2:
            waiting = target.laws.waiting_cycles[target.binding == "fabric"]
            tree = max(tree, turns + waiting)
    margin = 1 + tree // 6 + (product.size > _BALANCED_UP_TO)
    if product.size > CHAINED_FROM:
        levels = ceil(log2(longest_sum(product, work) + 1))
        return tree, min(max(levels // 2, 1), tree), 2 * tree
    return tree, max(tree - margin, 0), tree + margin


def _count_loop(product: Product, target: Target) -> tuple[int, int, int]:
    """Return the cycles of a loop over the weights of each multiplier."""
    reuse = product.reuse_factor
    summed = ceil(log2(max(1.0, product.n_in / reuse)))
    slow = ceil((target.product_ns + target.level_ns) / target.usable_ns) - 1
    if not slow:
        return reuse + 1, reuse, reuse + 2 + summed
    return reuse + 1 + slow, reuse, reuse + 2 + (1 + slow) * (1 + summed)


def _count_fitted_latency(product: Product, work: Work) -> tuple[int, int, int]:
    """Return what was fitted to reports of Vivado HLS 2020.1 at 5 ns."""
    reuse = product.reuse_factor
    cut = ceil(log2(max(2, product.n_in)) / _LEVELS_PER_CYCLE)
    if product.size > CHAINED_FROM and not product.by_adders:
        chain = ceil(longest_sum(product, work) / 2)
        return max(chain, cut), cut, 2 * max(chain, cut)
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
    return ceil(work.hard / units)


def _count_steps(product: Product) -> int:
    return ceil(product.positions / product.copies)


def _make_estimate(product: Product, target: Target, value: int, low: int, high: int) -> Estimate:
    """Stretch the upper end outside the measurements; no layer is quicker than its loop."""
    note, factor = outside(product, target)
    return Estimate(value, low, ceil(high * factor), note)
