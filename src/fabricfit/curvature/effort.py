"""How many samples, passes and probes the curvature gets, so that its price follows that of training.

Work is counted in multiplications: a forward pass of a sample, and twice that for each backward pass.
Training on a sample costs three forward passes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from fabricfit.curvature.loss_function import Problem

__all__ = ["Effort", "choose_effort", "choose_samples"]

_FREE_WORK = 2**33
"""Work up to which all samples and outputs are used: half a second of one processor."""

_SHARE = 0.125
"""Part of the training samples beyond that, as far as the least number of samples allows."""

_LEAST_SAMPLES, _MOST_SAMPLES = 2**10, 2**12
"""Samples of Gauss–Newton along one combination of outputs. On a thousand, groups chosen for half of a
residual network's weights lose 0.2 % more than those chosen by all samples and outputs, on two thousand
0.07 %."""

_LEAST_PROBED, _MOST_PROBED = 2**7, 2**11
"""Samples where kernels are probed, each by products of its own."""

_PROBES = 16
"""Products for each sample of such a kernel."""

_WORK_OF_PRODUCT = 6
"""Forward passes that a Hessian-vector product costs."""


class Effort(NamedTuple):
    """Arguments of :meth:`~fabricfit.curvature.Curvature.hessians` that bound its price."""

    samples: int | None = None
    passes: int | None = None
    probes: int | None = None


def choose_effort(
    problem: Problem, ways: Collection[str], available: int, samples: int | None, part: float
) -> Effort:
    """Return what the diagonal of the Hessian may cost.

    Parameters
    ----------
    problem
        The network and its loss.
    ways
        The method of each kernel.
    available
        Samples that there are.
    samples
        How many are to be used; None to follow the price.
    part
        Part of the usual samples: below 1 for a rough result.
    """
    per_sample = problem.work * (1 + 2 * problem.curvature.size)
    if set(ways) <= {"gauss-newton"}:
        if min(samples or available, available) * per_sample <= _FREE_WORK:
            return Effort(samples)
        return Effort(samples or choose_samples(available, part), 1)
    probed = sum(way != "gauss-newton" for way in ways)
    allowed = part * max(2 * _FREE_WORK, 3 * _SHARE * available * problem.work)
    affordable = allowed / max(probed * _PROBES * _WORK_OF_PRODUCT * problem.work, 1)
    count = samples or _clip(affordable, _LEAST_PROBED, part * _MOST_PROBED)
    is_long = min(count, available) * per_sample > _FREE_WORK
    return Effort(count, 1 if is_long else None, _PROBES)


def choose_samples(available: int, part: float = 1.0) -> int:
    """Return how many samples get a pass or two, of those that there are; ``part`` as above."""
    return _clip(part * _SHARE * available, part * _LEAST_SAMPLES, part * _MOST_SAMPLES)


def _clip(value: float, least: float, most: float) -> int:
    return int(np.clip(value, least, most))
