"""What comes out of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from fabricfit.keras.starting import Start
from fabricfit.report import Level, OptimizationReport

__all__ = ["OptimizationResult"]


@dataclass(frozen=True)
class OptimizationResult:
    """What came out of a run.

    Parameters
    ----------
    model
        A plain Keras model: the best accepted level, or a copy of the input if none was.
    report
        What was saved, what it cost, what was skipped and why.
    directory
        The run's own folder.
    hls_config
        The configuration to convert the model with, so that hls4ml realizes the savings; None where
        the run was not for a budget.
    start
        What a further run of the same model and data can begin with: give the result as ``reuse``.
    """

    model: keras.Model
    report: OptimizationReport
    directory: Path
    hls_config: dict[str, Any] | None = None
    start: Start | None = field(default=None, repr=False, compare=False)

    @property
    def history(self) -> tuple[Level, ...]:
        """All levels in the order in which they were tried."""
        return self.report.levels
