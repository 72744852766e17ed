"""Budgets as sections of a configuration and as options of a command describe them."""

from __future__ import annotations

from typing import Any

from fabricfit.cli.configuration import parse_budget
from fabricfit.cli.groups import NO_BUDGET, BudgetOptions, has_limits
from fabricfit.cli.sections import BudgetConfig
from fabricfit.description.quantities import parse_clock
from fabricfit.description.timing import DEADLINES
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hardware.resource_records import amount_names
from fabricfit.hardware.targets import Target
from fabricfit.hls4ml.model_estimate import ModelEstimate

__all__ = ["budget_of", "count_exceeded", "read_budgets", "read_comparison"]

_TIMING = ("clock", "clock_ns", "latency", "interval")
_BUILT = ("tool", "binding", "stage")


def budget_of(config: BudgetConfig) -> Budget:
    """Return the budget that a section describes."""
    timing, built = (
        {name: value for name in names if (value := getattr(config, name)) is not None}
        for names in (_TIMING, _BUILT)
    )
    if config.device is not None:
        found = Budget.device(config.device, config.fraction, **timing, **built)
    elif config.relative:
        limits = {**timing, **config.relative}
        found = Budget.relative(family=config.family or DEFAULT_FAMILY, **limits)
    else:
        amounts: dict[str, Any] = {name: getattr(config, name, None) for name in amount_names()}
        found = Budget(family=config.family or DEFAULT_FAMILY, **timing, **built, **amounts)
    return found.with_margin(config.margin)


def read_budgets(options: BudgetOptions) -> dict[str, Budget]:
    """Return the budget of each device, or the only one by the name ``''``.

    Raises
    ------
    InvalidInputError
        An option is out of range, there is nothing to compare with, or a device is not known.
    """
    boards = options.devices
    sections = {board: options.section(board) for board in boards} or {"": options.section()}
    if not all(map(has_limits, sections.values())):
        raise InvalidInputError(NO_BUDGET)
    return {board: budget_of(parse_budget(each)) for board, each in sections.items()}


def read_comparison(options: BudgetOptions) -> tuple[Budget | None, dict[str, Any]]:
    """Return what to compare an estimate with, if anything, and what is built with what.

    Raises
    ------
    InvalidInputError
        An option is out of range, or names a device or tool that is not known.
    """
    section = options.section()
    clock = section.pop("clock", None)
    built = {
        "clock_ns": None if clock is None else parse_clock(clock),
        "tool": section.pop("tool", None),
        "binding": section.pop("binding", None),
    }
    Target(**{name: value for name, value in built.items() if value is not None})
    if not section:
        return None, built
    if section.keys() & {*DEADLINES} and section.keys() <= {*DEADLINES, "margin"}:
        return Budget(**section), built
    return budget_of(parse_budget(section)), built


def count_exceeded(found: ModelEstimate) -> int:
    """Return how many limits and deadlines are exceeded, with the budget's margin of the error bars."""
    margin = 0.0 if found.budget is None else found.budget.margin
    used = [found.compared[name].counted(margin) > limit for name, limit in found.limits.items()]
    late = [not each.is_within(margin) for each in found.timings]
    return sum(used) + sum(late)
