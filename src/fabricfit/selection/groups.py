"""Which groups stay, so that a sparsity is met in every resource and as little as possible is lost.

The values are the losses of :mod:`fabricfit.choices.ranking`, the costs come from an objective, and the
choice is a knapsack. An objective may count more exactly than a linear sum (a removed unit saves work in the
next layer too; memory comes in whole blocks): the linear costs then only guide the choice, which is tightened
until the objective's own count agrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fabricfit.choices import Treatment
from fabricfit.choices.ranking import Criterion, GroupLosses, group_losses
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.coupled_units import bundle_units, is_coupled
from fabricfit.errors import InfeasibleError, InvalidInputError, spell
from fabricfit.knapsack import GroupedProblem, Options, solve_grouped, solve_knapsack
from fabricfit.objectives.base import Objective
from fabricfit.selection.costs import allowed_at, exempt_usage, removed_groups
from fabricfit.selection.item_sets import CoupledItems, Items, LayerItems, mark_best

__all__ = ["Selection", "select_groups"]

EXACT_SOLVERS = ("exact", "CBC_MIP")
"""Names that mean the exact solver: the second one is the historical default argument."""

_ROUNDS = 200
"""Knapsacks at most for one choice, each with a smaller capacity."""

DEFAULT_OPTIONS: Mapping[str, Any] = {"time_limit": 5.0}
"""For one knapsack; after that time the best choice found is used, with a proven gap."""


@dataclass(frozen=True)
class Selection:
    """The groups that stay.

    Parameters
    ----------
    keep
        Layer -> which groups stay, shape ``(n_groups,)``, bool.
    losses
        Layer -> what each group would lose, and by which treatment.
    utilization, allowed, baseline
        Resources after the choice, their limit, and those of the dense model, each of shape ``(M,)``.
    gap
        Most by which any other choice could lose less; 0 where the choice is proven to be the best.
    """

    keep: dict[str, np.ndarray]
    losses: dict[str, GroupLosses]
    utilization: np.ndarray
    allowed: np.ndarray
    baseline: np.ndarray
    gap: float

    def treatments(
        self, kernels: Mapping[str, np.ndarray], attributes: Mapping[str, LayerAttributes]
    ) -> dict[str, Treatment]:
        """Spell the selection out for every weight of the kernels that it was made for."""
        return {
            name: Treatment.of_groups(
                kernels[name], attributes[name].grouping, kept, self.losses[name].shared
            )
            for name, kept in self.keep.items()
        }


def select_groups(
    kernels: Mapping[str, np.ndarray],
    attributes: Mapping[str, LayerAttributes],
    sparsity: float,
    objective: Objective,
    *,
    metric: str | Criterion = "l1",
    statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    local: bool = False,
    knapsack_solver: str = "CBC_MIP",
    knapsack_options: Mapping[str, Any] | None = None,
    minimum_groups: int = 1,
    of_whole_model: bool = True,
) -> Selection:
    """Choose the groups that stay at a sparsity.

    Parameters
    ----------
    kernels
        Layer -> weights, for at least every layer that is optimizable.
    attributes
        Layer -> attributes. All layers count in the baseline; those marked optimizable can save.
    sparsity
        Fraction of every resource to save, in [0, 1].
    objective
        What is counted.
    metric
        Criterion of :mod:`fabricfit.choices.ranking`.
    statistics
        ``'gradients'`` and ``'hessians'``: layer -> array, as far as the criterion needs them.
    local
        Meet the sparsity in every layer by itself, instead of in all together.
    knapsack_solver
        A name of :func:`fabricfit.knapsack.solve_knapsack`. ``'CBC_MIP'`` and ``'exact'`` mean
        the exact solver for groups of equal cost.
    knapsack_options
        ``time_limit`` in seconds for one knapsack (5 by default), and ``scaling_factor``: see
        :func:`fabricfit.knapsack.solve_knapsack`.
    minimum_groups
        Groups that stay in every layer whatever the sparsity: with 0 a whole layer may vanish, and
        with it every path through the network. Where units of several layers are removed together, a
        tenth of them stays in any case.
    of_whole_model
        Whether the sparsity is of the usage of all layers, or of the optimizable ones alone.

    Raises
    ------
    InfeasibleError
        No choice that keeps ``minimum_groups`` meets the sparsity.
    InvalidInputError
        A value is out of range, a kernel is missing, or the objective answers nonsense.
    """
    if not 0 <= sparsity <= 1:
        raise InvalidInputError(
            f"sparsity must be a fraction between 0 and 1. Received: sparsity={spell(sparsity)}"
        )
    names = [n for n, layer in attributes.items() if layer.optimizable and layer.weight_shape]
    # The largest first: what it needs in passing is memory for the others.
    order = sorted(names, key=lambda name: -math.prod(attributes[name].weight_shape))
    found = {n: _rank_groups(n, attributes[n], kernels, metric, statistics or {}) for n in order}
    losses = {name: found[name] for name in names}
    solver = partial(
        _solve_knapsack,
        solver=knapsack_solver,
        options={**DEFAULT_OPTIONS, **(knapsack_options or {})},
    )
    options = (sparsity, objective, solver, minimum_groups, of_whole_model)
    if not local:
        return _select_at(attributes, losses, *options)
    _refuse_coupled_units(attributes, objective)
    parts = [
        _select_at({name: attributes[name]}, {name: found}, *options)
        for name, found in losses.items()
    ]
    keep = {name: kept for part in parts for name, kept in part.keep.items()}
    baseline = objective.model_usage_without(attributes, {})
    return Selection(
        keep,
        losses,
        objective.model_usage_without(attributes, removed_groups(keep)),
        allowed_at(baseline, sparsity, exempt_usage(attributes, objective, of_whole_model)),
        baseline,
        sum((part.gap for part in parts), 0.0),
    )


def _select_at(
    attributes: Mapping[str, LayerAttributes],
    losses: Mapping[str, GroupLosses],
    sparsity: float,
    objective: Objective,
    solve: Callable[..., tuple[list[np.ndarray], float]],
    minimum_groups: int,
    of_whole_model: bool,
) -> Selection:
    coupled = objective.removes_units and any(map(is_coupled, attributes.values()))
    kind = CoupledItems if coupled else LayerItems
    items: Items = kind(attributes, losses, objective, minimum_groups)
    exempt = exempt_usage(attributes, objective, of_whole_model)
    allowed = allowed_at(items.baseline, sparsity, exempt)
    choice = [np.ones(value.size, bool) for value in items.values]
    utilization = items.baseline
    fixed = items.baseline - sum(
        (value.size * cost for value, cost in zip(items.values, items.costs, strict=True)),
        np.zeros_like(items.baseline),
    )
    capacity = allowed - fixed
    floors = sum(
        (cost * floor for cost, floor in zip(items.costs, items.floors, strict=True)),
        np.zeros_like(items.baseline),
    )
    gap = 0.0
    if (utilization > allowed).any():
        _refuse_unreachable(attributes, objective, items, allowed, sparsity)
    for _ in range(_ROUNDS):
        if (utilization <= allowed).all():
            keep = items.keep(choice)
            return Selection(keep, dict(losses), utilization, allowed, items.baseline, gap)
        if (capacity < floors).any():
            choice = items.floor_choice()
        else:
            choice, gap = solve(items.values, np.array(items.costs), capacity, items.floors)
        utilization = items.utilization(choice)
        capacity = capacity - np.where(
            utilization > allowed, np.maximum(utilization - allowed, 1), 0
        )
    raise InfeasibleError(  # pragma: no cover - each round lowers the capacity by a unit at least
        f"no choice of groups was found that meets sparsity {sparsity:g}."
    )


def _solve_knapsack(
    values: list[np.ndarray],
    costs: np.ndarray,
    capacity: np.ndarray,
    floors: np.ndarray,
    *,
    solver: str,
    options: Mapping[str, Any],
) -> tuple[list[np.ndarray], float]:
    """Solve one knapsack over layers; return which groups stay, and the proven gap."""
    if solver in EXACT_SOLVERS:
        problem = GroupedProblem(values, costs, capacity, floors)
        result = solve_grouped(problem, time_limit=Options.of(options).time_limit)
        return list(result.choice), result.gap
    keep = [mark_best(value, floor) for value, floor in zip(values, floors, strict=True)]
    owner = np.repeat(np.arange(len(values)), [value.size for value in values])
    flat_keep, flat_values = np.concatenate(keep), np.concatenate(values)
    free = np.flatnonzero(~flat_keep)
    rest = capacity - floors @ costs
    _, chosen = solve_knapsack(flat_values[free], costs[owner[free]].T, rest, solver, **options)
    flat_keep[free[np.asarray(chosen, int)]] = True
    return np.split(flat_keep, np.cumsum([value.size for value in values])[:-1]), np.inf


def _refuse_unreachable(
    attributes: Mapping[str, LayerAttributes],
    objective: Objective,
    items: Items,
    allowed: np.ndarray,
    sparsity: float,
) -> None:
    least = items.least()
    if (least <= allowed).all():
        return
    units = objective.units or [f"resource {i}" for i in range(least.size)]
    missed = "; ".join(
        f"{unit}: at least {low:g} remain, {high:g} are allowed"
        for unit, low, high in zip(units, least, allowed, strict=True)
        if low > high
    )
    raise InfeasibleError(
        f"sparsity {sparsity:g} cannot be reached by {objective.name} in "
        f"{', '.join(map(repr, attributes))}: {missed}. Kept in any case: "
        f"{int(items.floors.max(initial=0))} group(s) of each optimizable layer (minimum_groups), and "
        "all layers that cannot be optimized. Lower the sparsity or minimum_groups."
    )


def _refuse_coupled_units(attributes: Mapping[str, LayerAttributes], objective: Objective) -> None:
    coupled = [each.name for each in bundle_units(attributes) if len(each.members) > 1]
    if objective.removes_units and coupled:
        raise InvalidInputError(
            "local=True chooses in every layer by itself, but units of some layers can only be removed "
            f"together: {'; '.join(coupled)}. Use local=False."
        )


def _rank_groups(
    name: str,
    layer: LayerAttributes,
    kernels: Mapping[str, np.ndarray],
    metric: str | Criterion,
    statistics: Mapping[str, Mapping[str, np.ndarray]],
) -> GroupLosses:
    if name not in kernels:
        raise InvalidInputError(
            f"attributes name an optimizable layer {name!r} that the model does not have."
        )
    kernel = kernels[name]
    if tuple(kernel.shape) != tuple(layer.weight_shape):
        raise InvalidInputError(
            f"layer {name!r} has a kernel of shape {tuple(kernel.shape)}, but its attributes say "
            f"{tuple(layer.weight_shape)}. Read the attributes from this model."
        )
    if not np.isfinite(kernel).all():
        raise InvalidInputError(f"the kernel of layer {name!r} holds NaN or infinite weights.")
    own = {kind: by_layer[name] for kind, by_layer in statistics.items() if name in by_layer}
    assert layer.optimization_attributes is not None
    return group_losses(kernel, layer.optimization_attributes, metric, own, name, layer.layout)
