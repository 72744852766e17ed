"""Result of a sweep over budgets: its points, their Pareto front and its knee."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.reporting.report import OptimizationReport, frame, is_better
from fabricfit.reporting.summary import spell_metric
from fabricfit.run.files import MODEL
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["SweepPoint", "SweepResult"]


@dataclass(frozen=True)
class SweepPoint:
    """Result of one budget.

    Parameters
    ----------
    budget
        The budget.
    directory
        The folder of its run; None if there was none.
    report
        The run's report; None if the budget cannot be met.
    error
        Why it cannot be met; ``''`` if it can.
    """

    budget: Budget
    directory: Path | None
    report: OptimizationReport | None
    error: str = ""

    @property
    def share(self) -> float:
        """Largest share of the resource usage before that is left, over the resources."""
        if self.report is None:
            return float("nan")
        pairs = zip(self.report.resources_after, self.report.resources_before, strict=True)
        return max((after / before for after, before in pairs if before), default=0.0)

    def load(self) -> keras.Model:
        """Load the model.

        Raises
        ------
        InvalidInputError
            There is none.
        """
        if self.directory is None:
            raise InvalidInputError(f"{self.budget!r} has no model: {self.error}")
        return keras.saving.load_model(self.directory / MODEL, compile=False)


@dataclass(frozen=True)
class SweepResult(Printable):
    """Results of all budgets.

    Parameters
    ----------
    points
        One for each budget, in their order.
    increasing
        Whether a larger metric is better.
    directory
        The folder of all runs.
    """

    points: tuple[SweepPoint, ...]
    increasing: bool
    directory: Path = field(compare=False)

    @property
    def front(self) -> tuple[SweepPoint, ...]:
        """Points that no other one beats in the metric and every resource in common, the smallest first."""
        found = [point for point in self.points if point.report is not None]
        kept = [each for each in found if not any(self._dominates(other, each) for other in found)]
        return tuple(sorted(kept, key=lambda point: point.share))

    @property
    def knee(self) -> SweepPoint | None:
        """The point of the Pareto front after which more resources bring least: a suggestion.

        That is the point farthest above the line between the front's ends, both axes scaled from 0 to 1
        (Satopaa et al., "Finding a Kneedle in a Haystack", 2011). None without a front.
        """
        front = self.front
        if len(front) < 3:
            return front[0] if front else None
        sign = 1 if self.increasing else -1
        x = _scale([point.share for point in front])
        y = _scale([sign * _read_metric(point) for point in front])
        return front[int(np.argmax(y - x))]

    def _make_document(self) -> Document:
        reports = [point.report for point in self.points if point.report is not None]
        units = list(dict.fromkeys(unit for report in reports for unit in report.units))
        metric, front, knee = reports[0].metric_name if reports else "metric", self.front, self.knee
        rows = []
        for point in self.points:
            place = "knee" if point is knee else "on the front" if point in front else "beaten"
            if point.report is None:
                rows.append([repr(point.budget), "", *([""] * len(units)), point.error])
                continue
            used = _read_usage(point)
            rows.append(
                [
                    repr(point.budget),
                    spell_metric(_read_metric(point), *point.report.metric_errors[1:]),
                    *(f"{used[unit]:,.0f}" if unit in used else "" for unit in units),
                    f"{place}; {point.report.verdict}",
                ]
            )
        header = ["budget", metric, *units, "outcome"]
        table = TextTable(header, rows, frozenset((0, len(header) - 1)))
        return Document([table, f"files: {self.directory}"])

    def to_frame(self) -> Any:
        """Return the points as a pandas DataFrame: a row each."""
        rows = []
        for point in self.points:
            row: dict[str, Any] = {"budget": repr(point.budget), "error": point.error}
            if point.report is not None:
                row |= {point.report.metric_name: point.report.metric_after, "share": point.share}
                row |= _read_usage(point)
            rows.append({**row, "on_front": point in self.front, "is_knee": point is self.knee})
        return frame(rows)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the Pareto front into a ``.png``, ``.svg`` or ``.pdf`` file."""
        from fabricfit.reporting.figures import draw_sweep_front, write_figure

        reported = [point for point in self.points if point.report is not None]
        knee = self.knee
        figure = draw_sweep_front(
            [
                (point.share, _read_metric(point), point in self.front, point is knee)
                for point in reported
            ],
            reported[0].report.metric_name if reported and reported[0].report else "",
        )
        return write_figure(figure, Path(path))

    def _dominates(self, one: SweepPoint, other: SweepPoint) -> bool:
        assert one.report is not None and other.report is not None
        sign = 1 if self.increasing else -1
        common = [unit for unit in one.report.units if unit in other.report.units]
        first, second = (
            (-sign * _read_metric(point), *(used[unit] for unit in common))
            for point, used in ((one, _read_usage(one)), (other, _read_usage(other)))
        )
        return is_better(first, second)


def _read_metric(point: SweepPoint) -> float:
    assert point.report is not None
    return point.report.metric_after


def _read_usage(point: SweepPoint) -> dict[str, float]:
    assert point.report is not None
    return dict(zip(point.report.units, point.report.resources_after, strict=True))


def _scale(values: Sequence[float]) -> np.ndarray:
    array = np.array(values, float)
    spread = float(np.ptp(array))
    return (array - array.min()) / spread if spread else np.zeros(array.size)
