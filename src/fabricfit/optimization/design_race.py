"""The race of designs: short trainings of all, whole trainings of the best two, and one that is chosen.

Successive halving (Jamieson and Talwalkar, 2016) with two rungs: what a design is worth is the metric of the
quantized network after training within it, and a short training tells the promising ones from the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fabricfit.errors import FabricFitError, InfeasibleError
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.reporting.alternatives import Alternative, largest_share
from fabricfit.run.files import MANIFEST, REPORT, RunDirectory, resolve_directory
from fabricfit.run.progress import entitle_runs

__all__ = ["Candidate", "Race"]

logger = logging.getLogger(__name__)

_SHORT = 1 / 8
"""The part of the epochs that each design is trained at first."""

_FINALISTS = 2
"""How many designs are trained to their end."""

_FOLDER = "designs"
"""Prefix of the folder in which all trainings of a race make theirs."""

Compare = Callable[[OptimizationResult, OptimizationResult], float]
"""Standard error of the difference of two results' metrics; NaN where it is not known."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A design that can be trained.

    Parameters
    ----------
    name, built
        As for :class:`fabricfit.reporting.alternatives.Alternative`.
    settings
        How it is trained to its end.
    fit
        Trains it with these settings, or with fewer epochs.
    learns_slowly
        Whether a short training says little of how good it becomes, only whether it fits: as where precision
        is trained, all of which is to be learned.
    """

    name: str
    built: str
    settings: OptimizationSettings
    fit: Callable[[OptimizationSettings], OptimizationResult]
    learns_slowly: bool = False

    def shorten(self, part: float) -> OptimizationSettings:
        """Return settings with a part of the epochs, without what only a whole training is worth."""
        own = self.settings
        if part == 1:
            return own
        rewinding = round(part * own.rewinding_epochs)
        epochs = max(round(part * own.epochs), rewinding + 1)
        return replace(own, epochs=epochs, rewinding_epochs=rewinding, tuner=None, callbacks=None)


class Race:
    """A race of designs.

    Parameters
    ----------
    candidates
        The designs, the most promising first.
    compare
        Tells how sure the difference of two results is.
    """

    def __init__(self, candidates: Sequence[Candidate], compare: Compare) -> None:
        self.candidates, self.compare = tuple(candidates), compare
        self._tried: dict[int, Alternative] = {}
        self._errors: dict[int, FabricFitError] = {}

    def run(self) -> OptimizationResult:
        """Train the designs, and return the result of the best one; its report names the others.

        The best one is that of the best metric. Where the difference of the best two is within its standard
        error, it is the one that uses the smaller share of the budget.

        Raises
        ------
        InfeasibleError
            The budget cannot be met with any of them.
        FabricFitError
            None of them can be trained.
        """
        settings = self.candidates[0].settings
        place = _find_folder(settings)
        try:
            places = list(range(len(self.candidates)))
            if len(places) > _FINALISTS:
                results = self._train(places, _SHORT, place)
                places = sorted(results, key=lambda each: self._rank_short(each, results[each]))
            results = self._train(places[:_FINALISTS], 1.0, place)
            if not results:
                raise self._join_errors()
        finally:
            if not any(place.iterdir()):
                place.rmdir()
        chosen = self._choose(results)
        return self._record(results[chosen], chosen)

    def _train(
        self, places: Sequence[int], part: float, folder: Path
    ) -> dict[int, OptimizationResult]:
        """Train some designs for a part of their epochs; return the results of those that could be."""
        found = {}
        for number, place in enumerate(places, 1):
            candidate = self.candidates[place]
            text = f"design {number} of {len(places)}, {part:.0%} of its training: {candidate.name}"
            logger.info("%s", text)
            suffix = "" if part == 1 else "-short"
            own = replace(
                candidate.shorten(part),
                directory=folder / f"design-{place + 1}{suffix}",
                resume=candidate.settings.resume,
            )
            try:
                with entitle_runs(text):
                    found[place] = candidate.fit(own)
            except FabricFitError as error:
                self._errors[place] = error
                self._tried[place] = _describe_untried(candidate, str(error))
                logger.info("not possible: %s", error)
                continue
            self._tried[place] = _describe(candidate, part, found[place])
        return found

    def _rank_short(self, place: int, result: OptimizationResult) -> tuple[Any, ...]:
        """Return a key that is the smaller the more promising a short training is."""
        unfit, *rest = self._rank(result)
        return unfit, not self.candidates[place].learns_slowly, *rest

    def _rank(self, result: OptimizationResult) -> tuple[bool, bool, float]:
        """Return a key that is the smaller the better a result is."""
        value = result.report.metric_after
        value = math.inf if math.isnan(value) else -value if result.increasing else value
        return not result.report.fits, not _is_good(result), value

    def _choose(self, results: dict[int, OptimizationResult]) -> int:
        """Return the place of the best result, and note why the others lost."""
        best, *others = sorted(results, key=lambda each: self._rank(results[each]))
        for other in others:
            one, two = results[best], results[other]
            if self._rank(one)[:2] != self._rank(two)[:2]:
                continue  # what was noted of it says why
            ahead = abs(one.report.metric_after - two.report.metric_after)
            error = self.compare(one, two) if ahead else 0.0
            alike = one.report.threshold is not None or ahead <= error
            lost = other
            if alike and _share(two) < _share(one):
                best, lost = other, best
            reason = "as good, with a larger share of the budget" if alike else "less good"
            self._tried[lost] = replace(self._tried[lost], error=error, outcome=reason)
        return best

    def _record(self, result: OptimizationResult, chosen: int) -> OptimizationResult:
        """Return the result with all designs in its report, which is written anew."""
        self._tried[chosen] = replace(self._tried[chosen], outcome="chosen")
        tried = sorted(self._tried.values(), key=lambda each: (not each.is_chosen, -each.epochs))
        report = replace(result.report, alternatives=tuple(tried))
        RunDirectory.existing(result.directory).write_json(REPORT, report.to_dict())
        return replace(result, report=report)

    def _join_errors(self) -> FabricFitError:
        first = next(iter(self._errors.values()))
        if len(self._errors) == 1 or not isinstance(first, InfeasibleError):
            return first
        named = (f"{self.candidates[place].name}: {error}" for place, error in self._errors.items())
        return InfeasibleError(" ".join(named))


def _describe(candidate: Candidate, part: float, result: OptimizationResult) -> Alternative:
    """Return what a training brought, as that of a design that was not chosen."""
    report = result.report
    times = {each.name: each.ns for each in report.timing}
    outcome = "less good"
    if not report.fits:
        outcome = "does not fit the budget"
    elif not _is_good(result):
        outcome = "less good than required"
    return Alternative(
        candidate.name,
        candidate.built,
        part,
        report.metric_after,
        report.resources_after,
        times.get("latency", math.nan),
        times.get("interval", math.nan),
        outcome,
    )


def _describe_untried(candidate: Candidate, reason: str) -> Alternative:
    return Alternative(
        candidate.name, candidate.built, 0.0, math.nan, (), math.nan, math.nan, reason
    )


def _is_good(result: OptimizationResult) -> bool:
    """Whether the metric is as good as was required; True where nothing was."""
    report = result.report
    if report.threshold is None:
        return True
    if result.increasing:
        return report.metric_after >= report.threshold
    return report.metric_after <= report.threshold


def _share(result: OptimizationResult) -> float:
    """Return the largest share of a limit that a result uses."""
    report = result.report
    return largest_share(report.resources_after, report.budget) if report.budget else 0.0


def _find_folder(settings: OptimizationSettings) -> Path:
    """Return the folder of a race: a new one, or the one that is resumed."""
    parent = resolve_directory(settings.directory)
    if settings.resume:
        if (parent / MANIFEST).exists() and parent.parents[1].name.startswith(f"{_FOLDER}-"):
            return parent.parents[1]  # the folder of one of its runs was named
        if found := sorted(parent.glob(f"{_FOLDER}-*")):
            return found[-1]
    return RunDirectory(parent, _FOLDER).path
