"""A finished run as its folder describes it: what reports are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import RunDirectoryError
from fabricfit.reporting.alternatives import SimpleAlternatives
from fabricfit.reporting.performance import Performance
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import JOURNAL, MANIFEST, Status, load_state, read_journal
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
        records, _ = read_journal(directory / JOURNAL)
        groups = directory / GROUPS
        manifest = _read_json(directory / MANIFEST)
        kinds = {"environment": dict, "settings": dict, "goal": dict, "fingerprint": dict}
        wrong = [name for name, kind in kinds.items() if not isinstance(manifest.get(name), kind)]
        if wrong:
            raise RunDirectoryError(f"{directory / MANIFEST} lacks {', '.join(wrong)}.")
        return cls(
            report=_read_as(OptimizationReport, _read_json(directory / REPORT), directory / REPORT),
            manifest=manifest,
            status=Status.of(records),
            directory=directory,
            maps=_read_maps(groups) if groups.is_file() else {},
            hls_config=_read_json(directory / HLS_CONFIG, needed=False),
            verification=_read_json(directory / VERIFICATION, needed=False),
            repeat=f"fabricfit optimize {directory / CONFIGURATION}"
            if (directory / CONFIGURATION).is_file()
            else "",
            performance=_read_optional(Performance, directory / PERFORMANCE),
            simple=_read_optional(SimpleAlternatives, directory / SIMPLE_ALTERNATIVES),
        )


def _read_maps(path: Path) -> dict[str, np.ndarray]:
    found = load_state(path)
    if not isinstance(found, dict) or not all(
        isinstance(each, np.ndarray) and each.ndim == 2 for each in found.values()
    ):
        raise RunDirectoryError(f"{path} does not hold maps of weights.")
    return found


def _read_json(path: Path, needed: bool = True) -> Any:
    if not needed and not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RunDirectoryError(f"{path} must hold a JSON object. Received: {type(found).__name__}")
    return found


def _read_optional(kind: Any, path: Path) -> Any:
    values = _read_json(path, needed=False)
    return None if values is None else _read_as(kind, values, path)


_KINDS = {
    OptimizationReport: "the report of a run",
    Performance: "what a result is worth on test data",
    SimpleAlternatives: "a comparison with simple alternatives",
}


def _read_as(kind: Any, values: Mapping[str, Any], path: Path) -> Any:
    try:
        return kind.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path} is not {_KINDS[kind]}: {error!r}") from error
