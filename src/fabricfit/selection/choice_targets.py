"""Targets that choose a treatment for every weight: limits of resources, kept and well used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fabricfit.choices import Choices, ChoiceSolver, Treatment
from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.objectives.base import Objective
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.selection.guides import NEAR, Guess, MovingLimits
from fabricfit.selection.targets import Chosen, Target

__all__ = ["BudgetTarget", "ChoiceTarget", "objective_for", "objective_of"]

_ROUNDS = 12
"""Choices that are made before the best one within the limits is accepted."""

_SPARED = 0.02
"""Fraction of a limit that may be left where less is used than was guessed."""

_NAMED = 4
"""Layers that a message names."""


def objective_of(
    budget: Budget, kind: type[FPGAResources] = FPGAResources, **options: Any
) -> FPGAResources:
    """Return an objective that counts a budget's resources as the budget means them.

    Parameters
    ----------
    budget
        The budget.
    kind
        The class that counts.
    **options
        Further parameters of it.

    Raises
    ------
    InvalidInputError
        The budget limits no resource.
    """
    if not budget.resources:
        raise InvalidInputError(
            f"{budget!r} has deadlines alone, and no resource that pruning or training could save. Limit "
            "one, such as dsp or lut; fabricfit.estimate compares a design with deadlines alone."
        )
    made = kind(budget.resources, family=budget.target, **options)
    made.stage, made.margin = budget.stage, budget.margin
    return made


def objective_for(
    budget: Budget,
    attributes: Mapping[str, LayerAttributes],
    kernels: Mapping[str, np.ndarray],
    kind: type[FPGAResources] = FPGAResources,
    given: np.ndarray | None = None,
) -> FPGAResources:
    """Return the objective that counts a budget's resources.

    Larger structures are used for the sake of those resources only of which the model uses too much. Layers
    for which plain Resource is asked for are counted with it where it is not dearer in shares of the budget.

    Parameters
    ----------
    budget, attributes, kernels, kind
        The budget, what it is for, and the class that counts.
    given
        What a relative budget is relative to; by default the usage of the kernels, layers as they are built.
    """
    objective = objective_of(budget, kind)
    used = objective.model_usage(attributes, kernels)
    named = dict(zip(budget.resources, used if given is None else given, strict=True))
    limits = budget.limits({name: float(amount) for name, amount in named.items()})
    prices = np.array([1 / max(limits[name], 1e-3) for name in budget.resources])
    objective.prices = prices
    used = objective.model_usage(attributes, kernels)
    scarce = [n for n, amount in zip(budget.resources, used, strict=True) if amount > limits[n]]
    objective = objective_of(budget, kind, scarce=scarce)
    objective.prices = prices
    return objective


class ChoiceTarget(Target):
    """Limits of the resources, kept by choosing a treatment for every weight.

    A level is the fraction of every resource that is to be saved, as for
    :class:`~fabricfit.selection.targets.SparsityTarget`.

    Parameters
    ----------
    attributes
        Layer -> attributes, ``optimizable`` set as decided. All layers count.
    objective
        Counts the resources; it offers choices.
    kernels
        Layer -> weights of every layer that has a kernel, before the run.
    metric, minimum_groups, of_whole_model
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
        of_whole_model: bool = True,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        self.attributes = attributes
        self.objective = objective
        self._ranking = {"metric": metric, "minimum_groups": minimum_groups}
        self._reasons = reasons or {}
        none = np.zeros(0)
        use = {
            name: objective.usage(layer, kernels.get(name, none))
            for name, layer in attributes.items()
            if layer.weight_shape or objective.counts_all_layers
        }
        self.baseline = _sum_amounts(use.values())
        self._kernels = {n: k for n, k in kernels.items() if attributes[n].optimizable}
        self._still = {name: each for name, each in use.items() if name not in self._kernels}
        still = _sum_amounts(self._still.values(), self.baseline.size)
        self._exempt = np.zeros_like(self.baseline) if of_whole_model else still

    def allowed(self, level: float) -> np.ndarray:
        """Return what a level allows of each resource of the whole model, shape ``(M,)``."""
        counted = self.baseline - self._exempt
        return (self._exempt + (1 - level) * counted) * (1 + 1e-12)

    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose a treatment for every weight, so that the level's limits are kept and well used.

        The costs that guide the choice are sums over items. What the choice really uses is counted, and the
        limits of the next round are moved by the difference, until they are kept and nearly used up. Where
        counting is slow, usage is guessed. What was chosen is counted once, which corrects the guesses, and
        chosen again if it uses too much or leaves much.
        """
        choices = self._list_choices(kernels, statistics or {})
        allowed = self.allowed(level) - (0 if spare is None else spare)
        solver = ChoiceSolver(list(choices.values()))
        guess = Guess(self.objective, self.attributes, kernels)
        found = self._choose_by(guess, choices, solver, allowed, roughly)
        if found is not None and guess.is_rough and not roughly:
            counted = self._recount(kernels, found, guess)
            left = allowed - counted.utilization
            if (left < 0).any() or (left > allowed - found.utilization + _SPARED * allowed).any():
                nearly = allowed * (1 - NEAR)  # what training makes of it is counted anyway
                again = self._choose_by(guess, choices, solver, nearly, roughly)
                found = again or (None if (left < 0).any() else counted)
            else:
                found = counted
        if found is None:
            raise InfeasibleError(self._describe_shortage(allowed, self._count_least(kernels)))
        return found

    def _recount(self, kernels: Mapping[str, np.ndarray], chosen: Chosen, guess: Guess) -> Chosen:
        """Count what was guessed, and correct further guesses by it."""
        counted = self._count_treated(kernels, chosen.treatments)
        guess.correct(chosen.treatments, counted)
        used = _sum_amounts([*self._still.values(), *counted.values()])
        return replace(chosen, utilization=used)

    def _choose_by(
        self,
        guess: Guess,
        choices: Mapping[str, Choices],
        solver: ChoiceSolver,
        allowed: np.ndarray,
        roughly: bool,
    ) -> Chosen | None:
        """Return the best choice within what is allowed; None if none was found."""
        limits = MovingLimits(allowed, allowed - _sum_amounts(self._still.values(), allowed.size))
        best: tuple[float, Chosen] | None = None
        for attempt in range(2 * _ROUNDS):
            found = solver.solve(np.maximum(limits.amounts, solver.least))
            treatments = {
                name: each.treatment(pick)
                for (name, each), pick in zip(choices.items(), found.picks, strict=True)
            }
            used = _sum_amounts([*self._still.values(), *guess.usage(treatments)])
            if (used <= allowed).all() and (best is None or found.loss < best[0]):
                best = found.loss, Chosen(treatments, used, found.gap)
            stays = not limits.move(found.used, allowed - used, solver.least)
            if stays or (best and (roughly or attempt + 1 >= _ROUNDS)):
                break
        return None if best is None else best[1]

    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels use no more than a level allows."""
        return not self.excess(kernels, level).any()

    def excess(self, kernels: Mapping[str, np.ndarray], level: float) -> np.ndarray:
        """Return by how much kernels use more than a level allows, shape ``(M,)``."""
        optimized = [
            self.objective.usage(self.attributes[name], kernels[name]) for name in self._kernels
        ]
        return np.maximum(
            _sum_amounts([*self._still.values(), *optimized]) - self.allowed(level), 0
        )

    def _list_choices(
        self,
        kernels: Mapping[str, np.ndarray],
        statistics: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, Choices]:
        return {
            name: self.objective.choices(
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

    def _count_treated(
        self, kernels: Mapping[str, np.ndarray], treatments: Mapping[str, Treatment]
    ) -> dict[str, np.ndarray]:
        return {
            name: self.objective.treated_usage(self.attributes[name], kernels[name], treatment)
            for name, treatment in treatments.items()
        }

    def _count_least(self, kernels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the least usage of every layer, whatever is pruned."""
        ones = {name: np.ones_like(kernel) for name, kernel in kernels.items()}
        choices = self._list_choices(kernels, {"gradients": ones, "hessians": ones})
        cheapest = {name: each.treatment(each.cheapest().pick) for name, each in choices.items()}
        return {**self._count_treated(kernels, cheapest), **self._still}

    def _describe_shortage(self, allowed: np.ndarray, floor: Mapping[str, np.ndarray]) -> str:
        """Say which resources are short, and where what remains of them is."""
        least, lines = _sum_amounts(floor.values()), []
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
                f"{unit}: {allowed[index]:,.0f} are allowed and the model uses "
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
    """A budget; a level is the fraction of the way to it from the present usage.

    Where the model uses less of a resource than the budget, it may use up to the budget.

    Parameters
    ----------
    attributes, kernels
        As for :class:`ChoiceTarget`.
    objective
        Counts the resources of the budget, and no others: see :func:`objective_for`.
    budget
        The limits.
    given
        What a relative budget is relative to; the present usage by default.
    **options
        ``metric``, ``minimum_groups`` and ``reasons``, as for :class:`ChoiceTarget`.

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
        given: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(attributes, objective, kernels, **options)
        known = self.baseline if given is None else given
        named = dict(zip(objective.resources, known.tolist(), strict=True))
        limits = budget.limits(named)
        self.limits = np.array([limits[name] for name in objective.resources])
        self.budget_name = budget.name
        floor = self._count_least(self._kernels)
        if (_sum_amounts(floor.values()) > self.limits).any():
            shortage = self._describe_shortage(self.limits, floor)
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


def _sum_amounts(amounts: Iterable[np.ndarray], size: int = 0) -> np.ndarray:
    found = list(amounts)
    return np.sum(found, axis=0) if found else np.zeros(size)
