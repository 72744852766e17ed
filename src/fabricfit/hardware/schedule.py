r"""When a compiler does what in a product with constants: cycles, and the numbers that wait in registers.

The products of a layer's inputs with its constants are added up in trees of adders. A compiler puts as much
into a clock cycle as its delays let it, and what passes from one cycle to the next waits in registers:
inputs, as long as products are not ready; then the products; then what is left of the sums, half as many
after each level of a tree. With :math:`t_0` the time of a product, :math:`d` that of a level and :math:`T`
the usable part of the period, a sum of *n* terms needs :math:`\lceil (t_0 + d \log_2 (n + 1)) / T \rceil`
cycles (the bias is a term), and at the end of cycle *k* there are :math:`n\, 2^{-(kT - t_0)/d}` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, sqrt

from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.targets import Target

__all__ = ["CHAINED_FROM", "Schedule", "longest_sum", "plan_schedule"]

CHAINED_FROM = 10_000
"""Weights of a layer of constants from which its sums were seen to be chains, not trees: with 10,976 and
11,220 weights they were, with 4,096 they were not."""

_CHAIN_CYCLES = 0.5
"""Cycles a term of a chained sum: 192 for 342 terms, 48 for 105."""

_DSP_STAGES = 3
"""Cycles of a product in a DSP block that one cycle does not suffice for."""

_TINY = 1e-9


@dataclass(frozen=True)
class Schedule:
    """The plan of a product with constants.

    Parameters
    ----------
    states
        Clock cycles in which something is done; the latency is one less.
    product_states
        Cycles after which products are in registers; a fraction where sums begin in the same cycle.
    terms_left
        For each of the other register stages, the part of a sum's terms that are left; without those of
        products.
    bare_terms_left
        The same for terms that need no product.
    """

    states: int
    product_states: float
    terms_left: tuple[float, ...]
    bare_terms_left: tuple[float, ...]

    @property
    def latency(self) -> int:
        """Cycles from input to output."""
        return self.states - 1


def plan_schedule(product: Product, work: Work, target: Target, delayed: int = 0) -> Schedule:
    """Plan a product with constants.

    Parameters
    ----------
    product
        The product as hls4ml builds it, its weights as constants.
    work
        What its weights leave it to do.
    target
        Whose delays, and what clock.
    delayed
        Cycles that it is to last longer than that, or less where they are negative.
    """
    usable, level = target.usable_ns, target.level_ns
    ready = _time_product(work, target)
    levels = log2(longest_sum(product, work) + 1)
    states = max(1, ceil((ready + levels * level) / usable - _TINY))
    if product.size > CHAINED_FROM:
        states = max(states, 1 + ceil(_CHAIN_CYCLES * longest_sum(product, work)))
    states = max(states + delayed, 1)
    ends = [usable * k for k in range(1, min(states, 64))]
    left = tuple(_part_left(end - ready, level) for end in ends if end >= ready - _TINY)
    bare = tuple(_part_left(end, level) for end in ends)
    return Schedule(states, ready / usable, left, bare)


def longest_sum(product: Product, work: Work) -> float:
    """Return the terms of a layer's longest sum; of unknown weights the mean and two deviations."""
    if work.longest >= 0:
        return work.longest
    part = work.nonzeros / product.size
    mean = part * product.n_in
    return min(mean + 2 * sqrt(max(mean * (1 - part), 0)), product.n_in)


def _time_product(work: Work, target: Target) -> float:
    """Return when products are ready: within a cycle if an adder follows in it, else at the end of one."""
    if not work.hard and not work.adders:
        return 0.0
    usable, needed = target.usable_ns, target.product_ns
    if needed + target.level_ns <= usable:
        return needed if work.hard else 0.0
    in_dsp = work.hard and target.binding != "fabric"
    return usable * (_DSP_STAGES if in_dsp and needed > usable else 1)


def _part_left(time: float, level: float) -> float:
    return float(2.0 ** -(max(time, 0.0) / level))
