"""Answers of several trainings to the same budgets: accuracies, differences with errors, ratios of cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.tables import NOTHING, new_table

__all__ = ["Answer", "Difference", "Front", "compare", "find_losses", "pick", "tabulate"]


@dataclass(frozen=True)
class Answer:
    """The network that a training has for a budget.

    Parameters
    ----------
    cost
        Of its adder graph.
    right
        For each validation sample and then each test sample, whether it is classified rightly.
    validation
        How many of them are for validation.
    """

    cost: float
    right: np.ndarray
    validation: int

    @property
    def test(self) -> float:
        """Accuracy on the test samples, in percent."""
        return 100 * float(self.right[self.validation :].mean())

    @property
    def both(self) -> float:
        """Accuracy on validation and test samples, in percent."""
        return 100 * float(self.right.mean())


Front = list[dict[int, Answer]]
"""For each seed, budget -> answer."""


def pick(every: Sequence[Answer], budgets: Sequence[int]) -> dict[int, Answer]:
    """Return for each budget the network within it with the best validation accuracy."""
    found = {}
    for budget in budgets:
        within = [each for each in every if each.cost <= budget]
        if within:
            found[budget] = max(within, key=lambda each: each.right[: each.validation].mean())
    return found


@dataclass(frozen=True)
class Difference:
    """Difference of two contestants in points, on samples that both have answered.

    Parameters
    ----------
    points
        Its mean over the seeds.
    over_samples, over_seeds
        Its standard errors.
    """

    points: float
    over_samples: float
    over_seeds: float

    @property
    def error(self) -> float:
        """Both errors together."""
        seeds = 0.0 if math.isnan(self.over_seeds) else self.over_seeds
        return math.hypot(self.over_samples, seeds)

    @classmethod
    def of(cls, ours: Sequence[Answer], theirs: Sequence[Answer]) -> Difference:
        """Compare answers, a seed each."""
        pairs = list(zip(ours, theirs, strict=False))
        by_sample = np.mean([a.right.astype(float) - b.right for a, b in pairs], axis=0)
        return cls(
            100 * float(by_sample.mean()),
            100 * float(by_sample.std() / math.sqrt(len(by_sample))),
            math.hypot(*(_mean([each.both for each in side])[1] for side in (ours, theirs))),
        )

    @classmethod
    def paired(cls, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Difference:
        """Compare which samples are right, 1 or 0, seed by seed: both start from the same network."""
        by_seed = np.array(ours) - np.array(theirs)
        points, over_seeds = _mean([100 * float(each.mean()) for each in by_seed])
        by_sample = by_seed.mean(axis=0)
        over_samples = 100 * float(by_sample.std() / math.sqrt(len(by_sample)))
        return cls(points, over_samples, over_seeds)


Differences = dict[tuple[str, str], dict[int, Difference]]
"""Names of ours and of a rival -> budget -> difference."""


def compare(
    fronts: Mapping[str, Front], budgets: Sequence[int], is_ours: Callable[[str], bool]
) -> Differences:
    """Return the differences of each of ours and each rival at each budget that all seeds answer."""
    found: Differences = {}
    for mine, ours in fronts.items():
        for rival, theirs in fronts.items():
            if is_ours(mine) and not is_ours(rival):
                found[mine, rival] = {
                    budget: Difference.of(*([s[budget] for s in side] for side in (ours, theirs)))
                    for budget in budgets
                    if all(budget in seed for seed in (*ours, *theirs))
                }
    return found


def tabulate(
    fronts: Mapping[str, Front],
    budgets: Sequence[int],
    is_ours: Callable[[str], bool],
    title: str = "",
) -> list[Any]:
    """Return tables of accuracies, of differences and of ratios of cost.

    Parameters
    ----------
    fronts
        Name -> answers.
    budgets
        The budgets.
    is_ours
        Tells a name of ours from a rival's.
    title
        What is compared, for the tables' titles.
    """
    columns = ["", *(f"{budget:,} LUT" for budget in budgets)]
    table = new_table(f"{title}: test accuracy in percent (mean cost), ± error over seeds", columns)
    for name, seeds in fronts.items():
        table.add_row(name, *(_describe(seeds, budget) for budget in budgets))
    what = "difference in points on validation and test samples, ± over samples ± over seeds"
    differences = new_table(f"{title}: {what}", columns)
    ratios = new_table(f"{title}: cost at the rival's own accuracy, the rival's ÷ ours", columns)
    for (mine, rival), by_budget in compare(fronts, budgets, is_ours).items():
        row = [
            f"{each.points:+.2f} ± {each.over_samples:.2f} ± {each.over_seeds:.2f}"
            if (each := by_budget.get(budget))
            else NOTHING
            for budget in budgets
        ]
        differences.add_row(f"{mine} − {rival}", *row)
        ratios.add_row(f"{rival} ÷ {mine}", *_list_ratios(fronts[mine], fronts[rival], budgets))
    return [table, differences, ratios]


def find_losses(differences: Differences, names: Callable[[str, str], bool]) -> list[str]:
    """Return in sentences where ours is behind by more than the error, of pairs whose names count."""
    return [
        f"{mine} is behind {rival} at {budget:,} LUT by {-each.points:.2f} ± {each.error:.2f} points"
        for (mine, rival), by_budget in differences.items()
        if names(mine, rival)
        for budget, each in by_budget.items()
        if each.points < -each.error
    ]


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


def _describe(seeds: Front, budget: int) -> str:
    found = [seed[budget] for seed in seeds if budget in seed]
    if len(found) < len(seeds):
        return NOTHING
    value, error = _mean([each.test for each in found])
    return f"{value:.2f} ± {error:.2f} ({np.mean([each.cost for each in found]):,.0f})"


def _list_ratios(ours: Front, theirs: Front, budgets: Sequence[int]) -> list[str]:
    """Return by how much our networks of the rival's accuracy are cheaper, at the rival's cost."""
    mine, rival = (_average_front(side, budgets) for side in (ours, theirs))
    found = []
    for budget in budgets:
        if budget not in rival:
            found.append(NOTHING)
            continue
        cost, value = rival[budget]
        own = _cost_at(list(mine.values()), value)
        found.append(NOTHING if own is None else f"{cost / own:.2f} (at {cost:,.0f})")
    return found


def _average_front(seeds: Front, budgets: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Return the mean cost and accuracy at each budget that all seeds have an answer to."""
    return {
        budget: (
            float(np.mean([seed[budget].cost for seed in seeds])),
            float(np.mean([seed[budget].both for seed in seeds])),
        )
        for budget in budgets
        if all(budget in seed for seed in seeds)
    }


def _cost_at(front: list[tuple[float, float]], value: float) -> float | None:
    """Return the cost at which a front reaches an accuracy, interpolated in the logarithm of the cost."""
    before: tuple[float, float] | None = None
    for cost, reached in sorted(front):
        if reached >= value:
            if before is None or reached == before[1]:
                return cost
            part = (value - before[1]) / (reached - before[1])
            return float(before[0] * (cost / before[0]) ** max(part, 0.0))
        before = (cost, reached)
    return None
