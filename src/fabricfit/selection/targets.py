"""What a run works toward: a sparsity of every resource, or a budget in units of the resources.

A run goes level by level from what the model takes to its target. A target says what is allowed at a
level, chooses what becomes of the weights there, and counts what a kernel takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.choices import Choices, ChoiceSolver, Treatment
from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InfeasibleError
from fabricfit.hardware.budget import Budget
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.selection.groups import Objective, allowed_at, select_groups

__all__ = [
    "BudgetTarget",
    "ChoiceTarget",
    "Chosen",
    "SparsityTarget",
    "Target",
    "objective_for",
]

_ROUNDS = 12
_NEAR = 0.005
_LEAST_STEP = 0.001
_NAMED = 4


@dataclass(frozen=True)
class Chosen:
    """What becomes of all weights at a level.

    Parameters
    ----------
    treatments
        Layer -> treatment of its kernel.
    utilization
        Resources that remain, shape ``(M,)``.
    gap
        Most by which any other choice could lose less, by the linear costs that guided it.
    """

    treatments: dict[str, Treatment]
    utilization: np.ndarray
    gap: float

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Layer -> 1 where a weight trains by itself."""
        return {name: each.mask for name, each in self.treatments.items()}

    @property
    def offsets(self) -> dict[str, np.ndarray]:
        """Layer -> the values of the other weights."""
        return {name: each.offset for name, each in self.treatments.items()}

    @property
    def clusters(self) -> dict[str, np.ndarray]:
        """Layer -> which weights share a value."""
        return {name: each.cluster for name, each in self.treatments.items()}


class Target(ABC):
    """What a run works toward, in levels from 0 (the model as it is) to 1."""

    objective: Objective

    decides_each_weight = False
    """Whether a choice is made weight by weight, which takes seconds in a large layer."""

    budget_name = ""
    """What the budget is called, such as the device that it is of."""

    @property
    def is_met(self) -> bool:
        """Whether the model needs no optimization."""
        return False

    @property
    def is_budget(self) -> bool:
        """Whether its levels end at limits of their own, instead of where all is saved."""
        return self.budget_limits is not None

    @property
    def budget_limits(self) -> tuple[float, ...] | None:
        """Limits in units of the objective's resources, if there are any."""
        return None

    @abstractmethod
    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose what becomes of the weights at a level.

        Parameters
        ----------
        kernels
            Layer -> weights of every optimizable layer.
        level
            How far to go.
        statistics
            ``'gradients'`` and ``'hessians'``: layer -> array, as far as the ranking needs them.
        spare
            What to leave unused of each resource, shape ``(M,)``.
        roughly
            Whether any good choice within the limits will do, where the best one takes long.

        Raises
        ------
        InfeasibleError
            No choice is within what the level allows.
        """

    def excess(self, kernels: Mapping[str, np.ndarray], level: float) -> np.ndarray:
        """Return by how much kernels take more than a level allows, shape ``(M,)``.

        Weights that trained may have come to values that take more than could be known before.
        """
        return np.zeros(1)

    @abstractmethod
    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels, those of all layers, take no more than a level allows."""


@dataclass(frozen=True)
class SparsityTarget(Target):
    """A level is the part of every resource that is to be saved.

    Parameters
    ----------
    attributes
        Layer -> attributes, ``optimizable`` set as decided.
    objective
        What is saved.
    options
        Keyword arguments of :func:`fabricfit.selection.groups.select_groups`.
    """

    attributes: Mapping[str, LayerAttributes]
    objective: Objective
    options: Mapping[str, Any]

    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose the groups that stay."""
        selection = select_groups(
            kernels,
            self.attributes,
            level,
            self.objective,
            statistics=statistics,
            **self.options,
        )
        treatments = selection.treatments(kernels, self.attributes)
        return Chosen(treatments, selection.utilization, selection.gap)

    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels take no more than a level allows, in each layer if that is asked for."""
        if self.options.get("local"):
            parts = [({name: self.attributes[name]}, {name: kernels[name]}) for name in kernels]
        else:
            parts = [(dict(self.attributes), dict(kernels))]
        return all(
            (
                np.asarray(self.objective.model_use(*part))
                <= allowed_at(np.asarray(self.objective.model_utilization(part[0], {})), level)
            ).all()
            for part in parts
        )


def objective_for(
    budget: Budget,
    attributes: Mapping[str, LayerAttributes],
    kernels: Mapping[str, np.ndarray],
    kind: type[FPGAResources] = FPGAResources,
) -> FPGAResources:
    """Return the objective that counts a budget's resources.

    Larger structures are used for the sake of those resources only of which the model takes too much.
    """
    objective = kind(budget.resources, family=budget.family)
    used = dict(zip(budget.resources, objective.model_use(attributes, kernels), strict=True))
    limits = budget.limits(used)
    scarce = [name for name in budget.resources if used[name] > limits[name]]
    return kind(budget.resources, family=budget.family, scarce=scarce)


class ChoiceTarget(Target):
    """Limits of the resources, kept by choosing for every weight what becomes of it.

    This one's level is the part of every resource that is to be saved, as that of
    :class:`SparsityTarget`.

    Parameters
    ----------
    attributes
        Layer -> attributes, ``optimizable`` set as decided. All layers count.
    objective
        Counts the resources; it offers choices.
    kernels
        Layer -> weights of every layer that has a kernel, before the run.
    metric, minimum_groups
        As for :func:`fabricfit.selection.groups.select_groups`.
    reasons
        Layer -> why it is not optimized, for the message of an error.
    """

    decides_each_weight = True

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        objective: Objective,
        kernels: Mapping[str, np.ndarray],
        *,
        metric: Any = "l1",
        minimum_groups: int = 1,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        self.attributes = attributes
        self.objective = objective
        self._ranking = {"metric": metric, "minimum_groups": minimum_groups}
        self._reasons = reasons or {}
        none = np.zeros(0)
        use = {
            name: np.array(objective.layer_use(layer, kernels.get(name, none)))
            for name, layer in attributes.items()
            if layer.weight_shape or objective.counts_all_layers
        }
        self.baseline = _total(use.values())
        self._kernels = {n: k for n, k in kernels.items() if attributes[n].optimizable}
        self._still = {name: each for name, each in use.items() if name not in self._kernels}

    def allowed(self, level: float) -> np.ndarray:
        """Return what a level allows of each resource, shape ``(M,)``."""
        return (1 - level) * self.baseline * (1 + 1e-12)

    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose for every weight, so that the level's limits are kept and well used.

        The costs that guide the choice are sums over items. What the choice really takes is counted,
        and the limits of the next round moved by the difference, until they are kept and nearly used up.
        """
        choices = self._choices(kernels, statistics or {})
        allowed = self.allowed(level) - (0 if spare is None else spare)
        solver = ChoiceSolver(list(choices.values()))
        limits = allowed - _total(self._still.values(), allowed.size)
        best: tuple[float, Chosen] | None = None
        for attempt in range(2 * _ROUNDS):
            found = solver.solve(np.maximum(limits, solver.least))
            treatments = {
                name: each.treatment(pick)
                for (name, each), pick in zip(choices.items(), found.picks, strict=True)
            }
            used = _total([*self._still.values(), *self._treated(kernels, treatments).values()])
            if (used <= allowed).all() and (best is None or found.loss < best[0]):
                best = found.loss, Chosen(treatments, used, found.gap)
            moved = self._moved(limits, found.used, allowed - used, allowed)
            if (moved == limits).all() or (best and (roughly or attempt + 1 >= _ROUNDS)):
                break
            limits = moved
        if best is None:
            raise InfeasibleError(self._shortage(allowed, self._floor(kernels)))
        return best[1]

    @staticmethod
    def _moved(
        limits: np.ndarray, guided: np.ndarray, left: np.ndarray, allowed: np.ndarray
    ) -> np.ndarray:
        """Return the limits of the next round: lower where too much is taken, higher where much is left.

        Parameters
        ----------
        limits, guided
            Limits of this round, and what was taken by the costs that guided it.
        left
            What is really left of what is allowed; negative where too much is taken.
        allowed
            What is allowed.
        """
        near = _NEAR * allowed
        over, bound = left < 0, guided + near > limits
        lower = np.minimum(limits, guided) + np.minimum(left, -_LEAST_STEP * allowed)
        return np.where(over, lower, np.where(bound & (left > near), limits + left, limits))

    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels take no more than a level allows."""
        return not self.excess(kernels, level).any()

    def excess(self, kernels: Mapping[str, np.ndarray], level: float) -> np.ndarray:
        """Return by how much kernels take more than a level allows, shape ``(M,)``."""
        optimized = [
            np.array(self.objective.layer_use(self.attributes[name], kernels[name]))
            for name in self._kernels
        ]
        return np.maximum(_total([*self._still.values(), *optimized]) - self.allowed(level), 0)

    def _choices(
        self,
        kernels: Mapping[str, np.ndarray],
        statistics: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, Choices]:
        return {
            name: self.objective.layer_choices(
                self.attributes[name],
                kernel,
                statistics={
                    kind: by_layer[name]
                    for kind, by_layer in statistics.items()
                    if name in by_layer
                },
                **self._ranking,
            )
            for name, kernel in kernels.items()
        }

    def _treated(
        self, kernels: Mapping[str, np.ndarray], treatments: Mapping[str, Treatment]
    ) -> dict[str, np.ndarray]:
        return {
            name: self.objective.treated_use(self.attributes[name], kernels[name], treatment)
            for name, treatment in treatments.items()
        }

    def _floor(self, kernels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what every layer takes at least, whatever is pruned."""
        ones = {name: np.ones_like(kernel) for name, kernel in kernels.items()}
        choices = self._choices(kernels, {"gradients": ones, "hessians": ones})
        cheapest = {name: each.treatment(each.cheapest().pick) for name, each in choices.items()}
        return {**self._treated(kernels, cheapest), **self._still}

    def _shortage(self, allowed: np.ndarray, floor: Mapping[str, np.ndarray]) -> str:
        """Say which resources are short, and where what remains of them is."""
        least, lines = _total(floor.values()), []
        for index, unit in enumerate(self.objective.units):
            if least[index] <= allowed[index]:
                continue
            largest = sorted(floor, key=lambda name: -floor[name][index])[:_NAMED]
            parts = [
                f"{name!r} {floor[name][index]:,.0f}"
                + (f" (not optimized: {self._reasons[name]})" if name in self._reasons else "")
                for name in largest
                if floor[name][index] > 0
            ]
            lines.append(
                f"{unit}: {allowed[index]:,.0f} are allowed and the model takes "
                f"{self.baseline[index]:,.0f}; at least {least[index]:,.0f} remain whatever is "
                f"pruned, most of them in {'; '.join(parts)}."
            )
        if not lines:
            amounts = zip(self.objective.units, allowed, strict=True)
            named = ", ".join(f"{amount:,.0f} {unit}" for unit, amount in amounts)
            lines.append(f"No choice was found that keeps {named} all at once.")
        return (
            f"{' '.join(lines)} In every layer {self._ranking['minimum_groups']} group(s) are kept "
            "(minimum_groups). Use a larger reuse factor, fewer bits or a smaller model."
        )


class BudgetTarget(ChoiceTarget):
    """A level is the part of the way from what the model takes to a budget.

    Where the model takes less of a resource than the budget, it may go on to take up to the budget.

    Parameters
    ----------
    attributes, kernels, metric, minimum_groups, reasons
        As for :class:`ChoiceTarget`.
    objective
        Counts the resources of the budget, and no others: see :func:`objective_for`.
    budget
        The limits.

    Raises
    ------
    InfeasibleError
        The budget cannot be met, whatever is pruned: the message says which resource is short, what is
        the least that can be reached, and in which layers it is.
    """

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        objective: FPGAResources,
        budget: Budget,
        kernels: Mapping[str, np.ndarray],
        **options: Any,
    ) -> None:
        super().__init__(attributes, objective, kernels, **options)
        named = dict(zip(objective.resources, self.baseline.tolist(), strict=True))
        limits = budget.limits(named)
        self.limits = np.array([limits[name] for name in objective.resources])
        self.budget_name = budget.name
        floor = self._floor(self._kernels)
        if (_total(floor.values()) > self.limits).any():
            shortage = self._shortage(self.limits, floor)
            raise InfeasibleError(f"{budget!r} cannot be met. {shortage}")

    @property
    def is_met(self) -> bool:
        """Whether the model is within the budget as it is."""
        return bool((self.baseline <= self.limits).all())

    @property
    def budget_limits(self) -> tuple[float, ...]:
        """The budget in units of the resources."""
        return tuple(self.limits.tolist())

    def allowed(self, level: float) -> np.ndarray:
        """Return what a level allows of each resource, shape ``(M,)``."""
        over = np.maximum(self.baseline - self.limits, 0)
        return self.limits + (1 - level) * over


def _total(amounts: Iterable[np.ndarray], size: int = 0) -> np.ndarray:
    found = list(amounts)
    return np.sum(found, axis=0) if found else np.zeros(size)
