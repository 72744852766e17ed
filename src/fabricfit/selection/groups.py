"""Which groups stay, so that a sparsity is met in every resource and as little as possible is lost.

The values are the losses of :mod:`fabricfit.choices.ranking`, the costs come from an objective, and the
choice is a knapsack. An objective may count more exactly than a linear sum (a removed unit saves work in the
next layer too; memory comes in whole blocks): the linear costs then only guide the choice, which is tightened
until the objective's own count agrees.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fabricfit.choices import Treatment
from fabricfit.choices.ranking import Criterion, GroupLosses, group_losses
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.coupled_units import bundle_units, is_coupled, reduced_sizes
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.knapsack import GroupedProblem, Options, solve_grouped, solve_knapsack
from fabricfit.objectives import ObjectiveEstimator

__all__ = ["Costs", "Selection", "allowed_at", "measure_costs", "removed_groups", "select_groups"]

Objective = ObjectiveEstimator | type[ObjectiveEstimator]

EXACT_SOLVERS = ("exact", "CBC_MIP")
"""Names that mean the exact solver: the second one is the historical default argument."""

_ROUNDS = 200

_LEFT = 0.1
"""At least so large a part stays of units that are removed together: a layer of one unit is a needle's eye,
which no magnitude of weights tells of."""

DEFAULT_OPTIONS: Mapping[str, Any] = {"time_limit": 5.0}
"""For one knapsack; after that time the best choice found is taken, with a proven gap."""


@dataclass(frozen=True)
class Costs:
    """What an objective says of a set of layers.

    Parameters
    ----------
    baseline
        Resources of the dense layers together, shape ``(M,)``.
    per_group
        Layer -> what removing one of its groups saves, shape ``(M,)``. Layers whose groups save
        nothing are not in it.
    """

    baseline: np.ndarray
    per_group: dict[str, np.ndarray]


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


def removed_groups(keep: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count the groups of each layer that do not stay."""
    return {name: int(kept.size - np.count_nonzero(kept)) for name, kept in keep.items()}


def measure_costs(attributes: Mapping[str, LayerAttributes], objective: Objective) -> Costs:
    """Ask an objective for the resources of some layers, and check its answers.

    Raises
    ------
    InvalidInputError
        An answer is negative or no whole number, or the layers differ in the number of resources.
    """
    dimensions: int | None = None
    per_group: dict[str, np.ndarray] = {}
    for name, layer in attributes.items():
        total = _answer(objective.layer_resources(layer), "layer_resources", name, dimensions)
        dimensions = total.size
        if layer.optimizable and layer.weight_shape:
            saved = _answer(objective.layer_savings(layer), "layer_savings", name, dimensions)
            if saved.any():
                count = layer.grouping.n_groups
                gone = _utilization(attributes, objective, {name: count})
                per_group[name] = (_utilization(attributes, objective, {}) - gone) / count
    if dimensions is None:
        raise InvalidInputError("attributes must describe at least one layer. Received: none.")
    return Costs(_utilization(attributes, objective, {}), per_group)


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
        An estimator, as a class or an instance.
    metric
        Criterion of :mod:`fabricfit.choices.ranking`.
    statistics
        ``'gradients'`` and ``'hessians'``: layer -> array, as far as the criterion needs them.
    local
        Meet the sparsity in every layer by itself, instead of in all together.
    knapsack_solver
        A name that :func:`fabricfit.knapsack.solve_knapsack` takes. ``'CBC_MIP'`` and ``'exact'`` mean
        the exact solver for groups of equal cost.
    knapsack_options
        ``time_limit`` in seconds for one knapsack (5 by default), and ``scaling_factor``: what
        :func:`fabricfit.knapsack.solve_knapsack` takes.
    minimum_groups
        Groups that stay in every layer whatever the sparsity: with 0 a whole layer may vanish, and
        with it every path through the network. Where units of several layers are removed together, a
        tenth of them stays in any case.

    Raises
    ------
    InfeasibleError
        No choice that keeps ``minimum_groups`` meets the sparsity.
    InvalidInputError
        A value is out of range, a kernel is missing, or the objective answers nonsense.
    """
    if not 0 <= sparsity <= 1:
        raise InvalidInputError(
            f"sparsity must be a fraction between 0 and 1. Received: sparsity={sparsity!r}"
        )
    names = [n for n, layer in attributes.items() if layer.optimizable and layer.weight_shape]
    # The largest first: what it needs in passing is memory for the others.
    order = sorted(names, key=lambda name: -math.prod(attributes[name].weight_shape))
    found = {n: _losses(n, attributes[n], kernels, metric, statistics or {}) for n in order}
    losses = {name: found[name] for name in names}
    solver = partial(
        _solve, solver=knapsack_solver, options={**DEFAULT_OPTIONS, **(knapsack_options or {})}
    )
    options = (sparsity, objective, solver, minimum_groups)
    if not local:
        return _select(attributes, losses, *options)
    _refuse_ties(attributes, objective)
    parts = [
        _select({name: attributes[name]}, {name: found}, *options) for name, found in losses.items()
    ]
    keep = {name: kept for part in parts for name, kept in part.keep.items()}
    baseline = _utilization(attributes, objective, {})
    return Selection(
        keep,
        losses,
        _utilization(attributes, objective, removed_groups(keep)),
        allowed_at(baseline, sparsity),
        baseline,
        sum((part.gap for part in parts), 0.0),
    )


class _Items(ABC):
    """What a knapsack chooses from: several sets of items, those of a set cost the same.

    ``names``, ``values``, ``costs`` and ``floors`` hold an entry for each set; ``baseline`` is what is taken
    when everything stays.
    """

    names: list[str]
    values: list[np.ndarray]
    costs: list[np.ndarray]
    floors: np.ndarray
    baseline: np.ndarray

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
    ) -> None:
        self._attributes = attributes
        self._losses = losses
        self._objective = objective

    def floor_choice(self) -> list[np.ndarray]:
        """Return the choice of the fewest items: of each set those that would lose most."""
        return [_best(value, floor) for value, floor in zip(self.values, self.floors, strict=True)]

    @abstractmethod
    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return which groups of each layer stay."""

    @abstractmethod
    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        """Return what is taken when a choice of items stays."""

    @abstractmethod
    def least(self) -> np.ndarray:
        """Return what is taken when the fewest items stay."""


class _ByLayer(_Items):
    """The groups of each layer as items."""

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
        minimum_groups: int,
    ) -> None:
        super().__init__(attributes, losses, objective)
        found = measure_costs(attributes, objective)
        self.baseline = found.baseline
        self.names = list(found.per_group)
        self.values = [losses[name].loss for name in self.names]
        self.costs = [found.per_group[name] for name in self.names]
        self.floors = np.array([min(minimum_groups, value.size) for value in self.values], int)

    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        chosen = dict(zip(self.names, choice, strict=True))
        return {
            name: chosen[name] if name in chosen else np.ones(found.loss.size, bool)
            for name, found in self._losses.items()
        }

    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        removed = removed_groups(dict(zip(self.names, choice, strict=True)))
        return _utilization(self._attributes, self._objective, removed)

    def least(self) -> np.ndarray:
        counts = zip(self.names, self.values, self.floors, strict=True)
        removed = {name: value.size - int(floor) for name, value, floor in counts}
        return _utilization(self._attributes, self._objective, removed)


class _ByClass(_Items):
    """Units that can only be removed together as items; a bundle of them is a set."""

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
        minimum_groups: int,
    ) -> None:
        super().__init__(attributes, losses, objective)
        # What has no second class to stand for it stays: no layer may vanish.
        self._bundles = [each for each in bundle_units(attributes) if each.classes.size > 1]
        self.names = [bundle.name for bundle in self._bundles]
        self.values = [
            np.sum([losses[n].loss[units].sum(axis=1) for n, units in each.members.items()], axis=0)
            for each in self._bundles
        ]
        self.floors = np.array(
            [
                min(max(minimum_groups, math.ceil(_LEFT * value.size)), value.size)
                for value in self.values
            ],
            int,
        )
        everything = [np.ones(value.size, bool) for value in self.values]
        self.baseline = self.utilization(everything)
        self.costs = []
        for index, value in enumerate(self.values):
            one = np.arange(value.size) == 0
            rest = [one if i == index else kept for i, kept in enumerate(everything)]
            self.costs.append((self.baseline - self.utilization(rest)) / (value.size - 1))

    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        keep = {name: np.ones(found.loss.size, bool) for name, found in self._losses.items()}
        for bundle, kept in zip(self._bundles, choice, strict=True):
            for name, units in bundle.members.items():
                keep[name][units[~kept].reshape(-1)] = False
        return keep

    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        gone = [b.classes[~kept] for b, kept in zip(self._bundles, choice, strict=True)]
        sizes = reduced_sizes(self._attributes, np.concatenate(gone) if gone else ())
        return np.asarray(self._objective.reduced_utilization(self._attributes, sizes), np.float64)

    def least(self) -> np.ndarray:
        return self.utilization(self.floor_choice())


def _select(
    attributes: Mapping[str, LayerAttributes],
    losses: Mapping[str, GroupLosses],
    sparsity: float,
    objective: Objective,
    solve: Callable[..., tuple[list[np.ndarray], float]],
    minimum_groups: int,
) -> Selection:
    coupled = objective.removes_units and any(map(is_coupled, attributes.values()))
    kind = _ByClass if coupled else _ByLayer
    items: _Items = kind(attributes, losses, objective, minimum_groups)
    allowed = allowed_at(items.baseline, sparsity)
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


def _solve(
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
    keep = [_best(value, floor) for value, floor in zip(values, floors, strict=True)]
    owner = np.repeat(np.arange(len(values)), [value.size for value in values])
    flat_keep, flat_values = np.concatenate(keep), np.concatenate(values)
    free = np.flatnonzero(~flat_keep)
    rest = capacity - floors @ costs
    _, chosen = solve_knapsack(flat_values[free], costs[owner[free]].T, rest, solver, **options)
    flat_keep[free[np.asarray(chosen, int)]] = True
    return np.split(flat_keep, np.cumsum([value.size for value in values])[:-1]), np.inf


def _best(loss: np.ndarray, count: int) -> np.ndarray:
    """Mark the ``count`` groups that would lose most, the first ones among equals."""
    keep = np.zeros(loss.size, bool)
    keep[np.argsort(-loss, kind="stable")[:count]] = True
    return keep


def _refuse_unreachable(
    attributes: Mapping[str, LayerAttributes],
    objective: Objective,
    items: _Items,
    allowed: np.ndarray,
    sparsity: float,
) -> None:
    least = items.least()
    if (least <= allowed).all():
        return
    units = getattr(objective, "units", ()) or [f"resource {i}" for i in range(least.size)]
    missed = "; ".join(
        f"{unit}: at least {low:g} remain, {high:g} are allowed"
        for unit, low, high in zip(units, least, allowed, strict=True)
        if low > high
    )
    raise InfeasibleError(
        f"sparsity {sparsity:g} cannot be reached by {_named(objective)} in "
        f"{', '.join(map(repr, attributes))}: {missed}. Kept in any case: "
        f"{int(items.floors.max(initial=0))} group(s) of each optimizable layer (minimum_groups), and "
        "all layers that cannot be optimized. Lower the sparsity or minimum_groups."
    )


def _refuse_ties(attributes: Mapping[str, LayerAttributes], objective: Objective) -> None:
    tied = [each.name for each in bundle_units(attributes) if len(each.members) > 1]
    if objective.removes_units and tied:
        raise InvalidInputError(
            "local=True chooses in every layer by itself, but units of some layers can only be removed "
            f"together: {'; '.join(tied)}. Use local=False."
        )


def allowed_at(baseline: np.ndarray, sparsity: float) -> np.ndarray:
    """Return what a sparsity allows of resources, whole numbers, shape ``(M,)``."""
    # A whole number that a rounding error makes smaller ((1 - 0.9) * 10 = 0.999…) stays whole.
    return np.floor((1 - sparsity) * baseline + 1e-9 * np.maximum(baseline, 1))


def _utilization(
    attributes: Mapping[str, LayerAttributes], objective: Objective, removed: Mapping[str, int]
) -> np.ndarray:
    return np.asarray(objective.model_utilization(attributes, removed), np.float64)


def _losses(
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


def _answer(values: object, method: str, layer: str, dimensions: int | None) -> np.ndarray:
    try:
        array = np.atleast_1d(np.asarray(values, np.float64))
    except (TypeError, ValueError):
        array = np.array([np.nan])
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or (array % 1).any():
        raise InvalidInputError(
            f"the objective's {method} must return a list of non-negative whole numbers. "
            f"Received for layer {layer!r}: {values!r}"
        )
    if dimensions is not None and array.size != dimensions:
        raise InvalidInputError(
            f"the objective's {method} must return {dimensions} number(s), as for the other layers. "
            f"Received for layer {layer!r}: {values!r}"
        )
    return array


def _named(objective: Objective) -> str:
    return objective.__name__ if isinstance(objective, type) else type(objective).__name__
