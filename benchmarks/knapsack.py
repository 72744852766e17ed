"""Knapsacks of groups of equal cost within a layer, against solvers of mixed-integer programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Contest
from benchmarks.tables import NOTHING, Headline, Report, new_table, ratio, seconds
from benchmarks.task import Task

__all__ = ["grouped_task", "items_task", "rival_task", "run"]

PART = "knapsack"
RIVALS = ("OR-Tools CBC", "HiGHS", "HiGHS, no presolve", "PuLP CBC")
GROUPED, ITEMS = "fabricfit, grouped", "fabricfit, items"
SIZES = (5_000, 50_000, 500_000)
LIMIT = 60.0
COSTS = np.array([[1, 0], [2, 1], [1, 1], [4, 3], [3, 0], [1, 2], [5, 1], [2, 2]])
"""Cost of a group of each layer in the first and in the second resource."""

SHARE = 0.4
"""Capacity as a fraction of the cost of all groups."""


def run(bench: Bench) -> Report:
    """Measure all sizes with one and with two resources."""
    report = Report()
    sizes = SIZES[:2] if bench.quick else SIZES
    for resources in (1, 2):
        for size in sizes:
            arguments = {"size": size, "resources": resources}
            module = "benchmarks.knapsack"
            cases = [
                Case(GROUPED, f"{module}:grouped_task", arguments),
                Case(ITEMS, f"{module}:items_task", arguments),
                *(
                    Case(name, f"{module}:rival_task", {**arguments, "solver": name}, limit=LIMIT)
                    for name in RIVALS
                ),
            ]
            word = "resource" if resources == 1 else "resources"
            workload = f"{size:,} groups, {resources} {word}"
            contest = bench.compete(PART, workload, cases, bench.repeats(3))
            report.tables.append(_build_table(contest))
            for rival in RIVALS:
                if not contest.error(rival):
                    what = f"wall time: {rival} ÷ {GROUPED}"
                    value = contest.ratio(rival, GROUPED, "wall")
                    report.headlines.append(Headline(PART, workload, what, value))
    return report


def _build_table(contest: Contest) -> Any:
    columns = ["", "wall", "value below the best", "÷ grouped", "÷ items", "memory growth"]
    table = new_table(contest.workload, columns)
    best = max(
        contest.values(name, "value")[0] for name in contest.names if _has_no_error(contest, name)
    )
    for name in contest.names:
        if not _has_no_error(contest, name):
            table.add_row(name, contest.error(name))
            continue
        gap = (best - contest.values(name, "value")[0]) / best
        growth = contest.spread(name, "growth_mb")
        table.add_row(
            name,
            seconds(contest.spread(name, "wall")),
            "none" if gap < 1e-12 else f"{gap:.1e} of it",
            ratio(contest.ratio(name, GROUPED, "wall")) if name != GROUPED else "",
            ratio(contest.ratio(name, ITEMS, "wall")) if name in RIVALS else "",
            f"{growth.median:,.1f} MB" if growth else NOTHING,
        )
    return table


def _has_no_error(contest: Contest, name: str) -> bool:
    return not contest.error(name)


def _draw_problem(size: int, resources: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the values by layer, what a group of each layer costs, and the capacity."""
    rng = np.random.default_rng(size + resources)
    costs = COSTS[:, :resources]
    sizes = np.full(len(costs), size // len(costs))
    values = [
        np.abs(rng.normal(scale=rng.uniform(0.5, 2) * cost.sum() ** 0.5, size=count))
        for cost, count in zip(costs, sizes, strict=True)
    ]
    return values, costs, np.floor(SHARE * (sizes @ costs)).astype(np.int64)


def _flatten_groups(values: list[np.ndarray], costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = [len(part) for part in values]
    return np.concatenate(values), np.repeat(costs, counts, axis=0).T.copy()


def grouped_task(size: int, resources: int) -> Task:
    """Prepare fabricfit's exact solver for layers of equal cost."""
    from fabricfit.knapsack import GroupedProblem, solve_grouped

    values, costs, capacity = _draw_problem(size, resources)

    def work() -> Any:
        return solve_grouped(GroupedProblem(values, costs, capacity))

    def inspect(found: Any) -> dict[str, Any]:
        if found.status != "optimal":
            raise ValueError(f"the choice is {found.status} with a gap of {found.gap}")
        return _check_choice(size, resources, np.concatenate(found.choice))

    return Task(work, inspect)


def items_task(size: int, resources: int) -> Task:
    """Prepare fabricfit's solver of single items."""
    from fabricfit.knapsack import solve_knapsack

    values, costs, capacity = _draw_problem(size, resources)
    flat, each = _flatten_groups(values, costs)

    def inspect(found: tuple[float, list[int]]) -> dict[str, Any]:
        kept = np.zeros(len(flat), bool)
        kept[found[1]] = True
        return _check_choice(size, resources, kept)

    return Task(lambda: solve_knapsack(flat, each, capacity), inspect)


def rival_task(size: int, resources: int, solver: str) -> Task:
    """Prepare another solver, named in :data:`benchmarks.rivals.solvers.SOLVERS`."""
    from benchmarks.rivals.solvers import SOLVERS

    values, costs, capacity = _draw_problem(size, resources)
    flat, each = _flatten_groups(values, costs)
    solve = SOLVERS[solver]()
    return Task(
        lambda: solve(flat, each, capacity, LIMIT),
        lambda kept: _check_choice(size, resources, kept),
    )


def _check_choice(size: int, resources: int, kept: np.ndarray) -> dict[str, Any]:
    """Return the value of a choice; refuse one that does not fit."""
    values, costs, capacity = _draw_problem(size, resources)
    flat, each = _flatten_groups(values, costs)
    if (each[:, kept].sum(axis=1) > capacity).any():
        raise ValueError("the choice exceeds the capacity")
    return {"value": float(flat[kept].sum())}
