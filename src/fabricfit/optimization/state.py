"""State of a run as plain values and arrays, and the manifest that tells its configuration from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fabricfit.errors import RunDirectoryError
from fabricfit.optimization.identity import describe_callbacks, plain_setting
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.reporting.plain import read_strengths
from fabricfit.reporting.report import Level, Trial
from fabricfit.run import digest
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.selection.targets import Target
from fabricfit.training.strengths import TunedStrengths

__all__ = ["RunState", "describe_run", "make_manifest"]

_NOT_DECISIVE = ("callbacks", "checkpoint_seconds", "directory", "resume", "verbose")
"""Settings on which the result of a run does not depend."""

Weights = list[np.ndarray]


@dataclass
class RunState:
    """State of a run between two levels.

    Parameters
    ----------
    tuned
        The regularization strengths, and the weights trained with them; None before they are chosen.
    levels
        Those that were tried, in their order.
    weights, last_good
        Weights of the model to train on from; and those to go back to after a level that is not accepted.
    random
        State of the generator that shuffles the samples.
    best, best_sparsity, best_metric
        Weights, sparsity and validation metric of the highest level that was accepted.
    stretches
        Stretches of fine-tuning that are done.
    reuses
        Whether an earlier run's results still serve.
    statistics
        Derivatives that weights are ranked by, as far as they serve on.
    """

    tuned: TunedStrengths | None = None
    levels: list[Level] = field(default_factory=list)
    weights: Weights = field(default_factory=list)
    last_good: Weights = field(default_factory=list)
    random: Mapping[str, Any] = field(default_factory=dict)
    best: Weights | None = None
    best_sparsity: float = 0.0
    best_metric: float = np.nan
    stretches: int = 0
    reuses: bool = False
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> dict[str, Any]:
        """Return the state as nested plain values and arrays; the strengths must have been chosen."""
        assert self.tuned is not None
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        found["levels"] = [dict(vars(level)) for level in self.levels]
        found["tuned"] = {
            "strengths": self.tuned.strengths,
            "weights": self.tuned.weights,
            "trials": [dict(vars(trial)) for trial in self.tuned.trials],
        }
        return found

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> RunState:
        """Return the state that :meth:`pack` was called on.

        Raises
        ------
        RunDirectoryError
            The values are not those of a state, for example since another version wrote them.
        """
        try:
            tuned = packed["tuned"]
            found = TunedStrengths(
                read_strengths(tuned["strengths"]),
                tuned["weights"],
                tuple(Trial.from_dict(each) for each in tuned["trials"]),
            )
            levels = [Level.from_dict(each) for each in packed["levels"]]
            return cls(**{**packed, "tuned": found, "levels": levels})
        except (KeyError, TypeError, ValueError) as error:
            raise RunDirectoryError(
                f"the checkpoint does not hold the state of a run of this version: {error!r}. Resume the run "
                "with the version that began it, or name another directory."
            ) from error


def describe_run(
    name: str,
    fingerprint: Mapping[str, Any],
    settings: OptimizationSettings,
    scheduler: OptimizationScheduler,
    target: Target,
    reused: str | None,
) -> dict[str, Any]:
    """Return a run's manifest, without versions and the machine.

    Parameters
    ----------
    name
        The model's.
    fingerprint
        Of the model and data: see :func:`fabricfit.optimization.identity.fingerprint`.
    settings, scheduler, target
        How it is done, on which levels, toward what.
    reused
        A checksum of the run that it begins with, if there is one.
    """
    objective = target.objective
    goal = {
        "target": type(target).__name__,
        "objective": objective.name,
        "parameters": _select_plain(objective.parameters),
        "limits": target.budget_limits,
        "allowed at the end": target.allowed(scheduler.upper_bound).tolist(),
        "budget": target.budget_name,
    }
    schedule = {"scheduler": type(scheduler).__qualname__, **_select_plain(vars(scheduler))}
    return make_manifest(name, fingerprint, settings, goal, schedule, reused)


def make_manifest(
    name: str,
    fingerprint: Mapping[str, Any],
    settings: OptimizationSettings,
    goal: Mapping[str, Any],
    schedule: Mapping[str, Any],
    reused: str | None = None,
) -> dict[str, Any]:
    """Return a manifest, without versions and the machine.

    Parameters
    ----------
    name, fingerprint, settings, reused
        As for :func:`describe_run`.
    goal, schedule
        Toward what, and on which way, in plain values.
    """
    configuration = {
        each.name: plain_setting(getattr(settings, each.name)) for each in fields(settings)
    }
    configuration["callbacks"] = [type(each).__name__ for each in settings.callbacks or ()]
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
            "the callbacks": digest(describe_callbacks(settings.callbacks or ())),
            "the goal": digest(goal),
            "the levels": digest(schedule),
            "the run that is reused": digest(reused),
        },
    }


def _select_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some attributes that are plain values."""
    kinds = (bool, int, float, str, tuple, list, type(None))
    return {name: value for name, value in sorted(values.items()) if isinstance(value, kinds)}
