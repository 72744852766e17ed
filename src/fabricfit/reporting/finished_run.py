"""A finished run as its folder describes it: what reports are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import RunDirectoryError
from fabricfit.reporting.alternatives import SimpleAlternatives
from fabricfit.reporting.performance import Performance
from fabricfit.reporting.plain import read_number
from fabricfit.reporting.records import check_manifest, check_verification, read_json, read_maps
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import JOURNAL, MANIFEST, Status, read_journal
from fabricfit.run.files import (
    CONFIGURATION,
    GROUPS,
    HLS_CONFIG,
    PERFORMANCE,
    REPORT,
    SIMPLE_ALTERNATIVES,
    VERIFICATION,
)

__all__ = ["FinishedRun"]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, read from its folder.

    Parameters
    ----------
    report
        Resources, weights and metric before and after.
    manifest
        Settings, goal, versions and checksums of the run.
    status
        Last status by the run's journal.
    directory
        The run's folder.
    maps
        Kernel -> treatment of each weight: see :func:`fabricfit.optimization.savings.weight_maps`.
    hls_config
        hls4ml's configuration that makes the savings real; None without one.
    verification
        Outcome of the verification; None if the result was not verified.
    repeat
        Command that repeats the run; ``''`` without one.
    performance
        What the result is worth on test data; None where it was not measured.
    simple
        The result beside simple alternatives; None where it was not compared.
    """

    report: OptimizationReport
    manifest: Mapping[str, Any]
    status: Status
    directory: Path
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    hls_config: Mapping[str, Any] | None = None
    verification: Mapping[str, Any] | None = None
    repeat: str = ""
    performance: Performance | None = None
    simple: SimpleAlternatives | None = None

    @classmethod
    def read(cls, directory: Path) -> FinishedRun:
        """Read a finished run's folder.

        Raises
        ------
        RunDirectoryError
            The folder is not that of a finished run, or a file is damaged.
        """
        if not (directory / MANIFEST).is_file():
            raise RunDirectoryError(
                f"{directory} is not the folder of a run: it has no {MANIFEST}."
            )
        if not (directory / REPORT).is_file():
            raise RunDirectoryError(
                f"the run in {directory} is not finished. Resume it first ('fabricfit resume')."
            )
        directory = directory.absolute()
        groups = directory / GROUPS
        report = _read_optional(OptimizationReport.from_dict, directory / REPORT, needed=True)
        simple = _read_optional(SimpleAlternatives.from_dict, directory / SIMPLE_ALTERNATIVES)
        if simple is not None and simple.units != report.units:
            raise RunDirectoryError(
                f"{directory / SIMPLE_ALTERNATIVES} is of {simple.units}, and {REPORT} of {report.units}."
            )
        return cls(
            report=report,
            manifest=_read_optional(check_manifest, directory / MANIFEST, needed=True),
            status=_read_status(directory / JOURNAL),
            directory=directory,
            maps=read_maps(groups) if groups.is_file() else {},
            hls_config=read_json(directory / HLS_CONFIG, needed=False),
            verification=_read_optional(check_verification, directory / VERIFICATION),
            repeat=f"fabricfit optimize {directory / CONFIGURATION}"
            if (directory / CONFIGURATION).is_file()
            else "",
            performance=_read_optional(Performance.from_dict, directory / PERFORMANCE),
            simple=simple,
        )


_KINDS = {
    MANIFEST: "the manifest of a run",
    REPORT: "the report of a run",
    PERFORMANCE: "what a result is worth on test data",
    SIMPLE_ALTERNATIVES: "a comparison with simple alternatives",
    VERIFICATION: "the outcome of a verification",
}


def _read_optional(
    read: Callable[[Mapping[str, Any]], Any], path: Path, needed: bool = False
) -> Any:
    """Return what is made of a file; None if it is not there and need not be."""
    values = read_json(path, needed)
    if values is None:
        return None
    try:
        return read(values)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = str(error).strip("'") if isinstance(error, KeyError) else str(error)
        said = f"{said!r} is missing" if isinstance(error, KeyError) else said
        raise RunDirectoryError(f"{path} is not {_KINDS[path.name]}: {said[:300]}") from error


def _read_status(path: Path) -> Status:
    records, _ = read_journal(path)
    try:
        status = Status.of(records)
        read_number(status.begun), read_number(status.now)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path} is not the journal of a run: {error!r}") from error
    return status
