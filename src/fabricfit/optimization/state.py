"""A run's state as plain values and arrays, and what tells its configuration from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fabricfit.optimization.reuse import plain_setting
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.reporting.report import Level
from fabricfit.run import digest
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.selection.targets import Target
from fabricfit.training.strengths import Strengths, Trial, Tuned

__all__ = ["RunState", "describe_run"]

_NOT_DECISIVE = ("callbacks", "checkpoint_seconds", "directory", "resume", "verbose")
"""Settings that change nothing about what a run comes to."""

Weights = list[np.ndarray]


@dataclass
class RunState:
    """Where a run stands between two levels.

    Parameters
    ----------
    tuned
        The strengths, and the weights that were trained with them.
    levels
        Those that were tried, in their order.
    weights, good
        Of the model, to go on with; and those to go back to after a bad level.
    random
        State of the generator that shuffles the samples.
    best, best_sparsity, best_metric
        Of the highest level that was good.
    phases
        Stretches of training that are done.
    reuses
        Whether an earlier run's results still serve.
    """

    tuned: Tuned
    levels: list[Level] = field(default_factory=list)
    weights: Weights | None = None
    good: Weights | None = None
    random: Mapping[str, Any] | None = None
    best: Weights | None = None
    best_sparsity: float = 0.0
    best_metric: float = np.nan
    phases: int = 0
    reuses: bool = False

    def packed(self) -> dict[str, Any]:
        """Return it as nested plain values and arrays."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        found["levels"] = [dict(vars(level)) for level in self.levels]
        found["tuned"] = {
            "strengths": self.tuned.strengths,
            "weights": self.tuned.weights,
            "trials": [dict(vars(trial)) for trial in self.tuned.trials],
        }
        return found

    @classmethod
    def of(cls, packed: Mapping[str, Any]) -> RunState:
        """Return what :meth:`packed` was made from."""
        tuned = packed["tuned"]
        levels = [
            Level(**{**each, "utilization": tuple(each["utilization"])})
            for each in packed["levels"]
        ]
        trials = tuple(
            Trial(**{**each, "strengths": _strengths(each["strengths"])})
            for each in tuned["trials"]
        )
        whole = Tuned(_strengths(tuned["strengths"]), tuned["weights"], trials)
        return cls(**{**packed, "tuned": whole, "levels": levels})


def _strengths(given: Mapping[str, Any]) -> Strengths:
    return {name: (float(alpha), float(beta)) for name, (alpha, beta) in given.items()}


def describe_run(
    name: str,
    fingerprint: Mapping[str, Any],
    settings: OptimizationSettings,
    scheduler: OptimizationScheduler,
    target: Target,
    reused: str | None,
) -> dict[str, Any]:
    """Return a run's manifest, without what it is done with.

    Parameters
    ----------
    name
        The model's.
    fingerprint
        Of the model and data: see :func:`fabricfit.optimization.reuse.fingerprint`.
    settings, scheduler, target
        How it is done, on which levels, toward what.
    reused
        A checksum of the run that it begins with, if there is one.
    """
    configuration = {
        each.name: plain_setting(getattr(settings, each.name)) for each in fields(settings)
    }
    objective = target.objective
    goal = {
        "target": type(target).__name__,
        "objective": getattr(objective, "__qualname__", type(objective).__qualname__),
        "parameters": {} if isinstance(objective, type) else _simple(vars(objective)),
        "limits": target.budget_limits,
        "budget": target.budget_name,
    }
    schedule = {"scheduler": type(scheduler).__qualname__, **_simple(vars(scheduler))}
    decisive = {name: value for name, value in configuration.items() if name not in _NOT_DECISIVE}
    return {
        "model": name,
        "settings": configuration,
        "goal": goal,
        "levels": schedule,
        "seed": settings.seed,
        "fingerprint": {
            **{name: digest(value) for name, value in fingerprint.items()},
            **{f"the setting {name!r}": digest(value) for name, value in decisive.items()},
            "the goal": digest(goal),
            "the levels": digest(schedule),
            "the run that is reused": digest(reused),
        },
    }


def _simple(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some attributes that are plain values."""
    kinds = (bool, int, float, str, tuple, list, type(None))
    return {name: value for name, value in sorted(values.items()) if isinstance(value, kinds)}
