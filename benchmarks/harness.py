"""Measurements, each in a fresh process, repeated in turns, and the ratios of their pairs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.machine import busy_seconds

__all__ = ["BUSY", "Bench", "Case", "Contest", "Measurement", "Spread"]

BUSY = 0.1
"""Cores used by others from which on a measurement is marked."""

_ROOT = Path(__file__).resolve().parents[1]
_POLL = 0.1
_MOMENT = 2.0
_START_LIMIT = 600.0
_ERROR_LENGTH = 160


@dataclass(frozen=True)
class Case:
    """One contestant at one workload.

    Parameters
    ----------
    name
        What tables call it.
    function
        ``module:function``. In the fresh process it is called with the arguments, and returns the
        :class:`~benchmarks.task.Task` that is measured.
    arguments
        Plain data.
    backend
        Of Keras, for the process.
    environment
        Further variables for the process.
    limit
        Largest duration of the work, in seconds.
    python
        The interpreter, of another environment; the present one by default.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "tensorflow"
    environment: Mapping[str, str] = field(default_factory=dict)
    limit: float = 3600.0
    python: str = sys.executable


@dataclass(frozen=True)
class Measurement:
    """What one run of a case took.

    Parameters
    ----------
    wall, cpu
        Seconds of the work; CPU seconds are those of all its threads, user and system.
    total_cpu
        CPU seconds of the process until the end of the work, imports and loading included.
    peak_mb, growth_mb
        Largest resident set during the work, and by how much it is above what was resident before.
    others
        Cores that other processes used meanwhile, on average. Times measured while others work
        are unreliable: threads that wait for each other spin.
    figures
        What else the case reports.
    error
        Why there are no numbers; empty if there are.
    """

    wall: float = float("nan")
    cpu: float = float("nan")
    total_cpu: float = float("nan")
    peak_mb: float = float("nan")
    growth_mb: float = float("nan")
    others: float = float("nan")
    figures: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def value(self, key: str) -> Any:
        """Return a number by its name, of the measurement itself or of its figures."""
        return self.figures[key] if key in self.figures else getattr(self, key)


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, the least and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of numbers, None if there are none."""
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Contest:
    """Several contestants at one workload, measured in turns.

    Parameters
    ----------
    part, workload
        Where it belongs.
    rounds
        For each round, contestant -> measurement.
    """

    part: str
    workload: str
    rounds: list[dict[str, Measurement]]

    @property
    def names(self) -> list[str]:
        """Contestants in their order."""
        return list(self.rounds[0])

    def error(self, name: str) -> str:
        """Return why a contestant has no numbers, or an empty text."""
        errors = [each[name].error for each in self.rounds if each[name].error]
        return errors[0] if errors and not self.values(name, "wall") else ""

    def values(self, name: str, key: str) -> list[Any]:
        """Return a number of a contestant from all rounds in which it has one."""
        return [each[name].value(key) for each in self.rounds if not each[name].error]

    def spread(self, name: str, key: str) -> Spread | None:
        """Return the spread of a number of a contestant."""
        return Spread.of(self.values(name, key))

    def ratio(self, above: str, below: str, key: str) -> Spread | None:
        """Return the spread of the ratios of two contestants, round by round."""
        pairs = (
            (each[above].value(key), each[below].value(key))
            for each in self.rounds
            if above in each and below in each and not (each[above].error or each[below].error)
        )
        return Spread.of([a / b for a, b in pairs if b > 0])

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all measurements as plain data."""
        for number, each in enumerate(self.rounds):
            for name, measurement in each.items():
                yield {
                    "part": self.part,
                    "workload": self.workload,
                    "contestant": name,
                    "round": number,
                    **asdict(measurement),
                }


class Bench:
    """Runs cases.

    Parameters
    ----------
    directory
        Where requests, results, logs and base models go.
    backends
        Backends of Keras to measure fabricfit on.
    quick
        Whether sizes are reduced and nothing is repeated.
    repeats, seeds
        Number of repetitions; None for the default of each part.
    tuner
        The search for strengths that fabricfit is measured with; see fabricfit.OptimizationSettings.
    all_epochs
        Whether fabricfit trains every level to its last epoch.
    patience
        Seconds to wait before each measurement, at most, for other processes to be done.
    log
        Where progress is shown.
    """

    def __init__(
        self,
        directory: Path,
        backends: Sequence[str],
        *,
        quick: bool = False,
        repeats: int | None = None,
        seeds: int | None = None,
        tuner: str = "halving",
        all_epochs: bool = False,
        patience: float = 0.0,
        log: Console | None = None,
    ) -> None:
        self.directory = directory
        self.backends = list(backends)
        self.quick = quick
        self.tuner = tuner
        self.all_epochs = all_epochs
        self._repeats, self._seeds, self._patience = repeats, seeds, patience
        self._log = log or Console(stderr=True)
        self._numbers = itertools.count()
        self.contests: list[Contest] = []

    def repeats(self, default: int) -> int:
        """Return the number of repetitions of a pair: the requested one, else 1 if quick."""
        return self._repeats or (1 if self.quick else default)

    def seeds(self, default: int) -> int:
        """Return for how many seeds to measure."""
        return self._seeds or (1 if self.quick else default)

    def compete(
        self,
        part: str,
        workload: str,
        cases: Sequence[Case],
        rounds: int | Sequence[Mapping[str, Any]],
    ) -> Contest:
        """Measure contestants in turns: A, B, A, B, and so on.

        Parameters
        ----------
        part, workload
            Where it belongs.
        cases
            The contestants. One that fails is not tried again; the others go on.
        rounds
            How many rounds, or for each round the arguments that it adds to all cases.
        """
        changes = [{}] * rounds if isinstance(rounds, int) else rounds
        done: list[dict[str, Measurement]] = []
        failed: dict[str, Measurement] = {}
        for number, change in enumerate(changes):
            found: dict[str, Measurement] = {}
            for case in cases:
                if case.name not in failed:
                    own = replace(case, arguments={**case.arguments, **change})
                    measurement = self.measure(own)
                    place = f"{part} · {workload} · {case.name} · {number + 1}/{len(changes)}"
                    self._print_measurement(place, measurement)
                    if measurement.error:
                        failed[case.name] = measurement
                    found[case.name] = measurement
                else:
                    found[case.name] = failed[case.name]
            done.append(found)
        contest = Contest(part, workload, done)
        self.contests.append(contest)
        return contest

    def measure(self, case: Case) -> Measurement:
        """Run a case in a process of its own."""
        name = f"{next(self._numbers):04d}"
        request, result, started, log = (
            self.directory / f"{name}.{kind}" for kind in ("request", "result", "started", "log")
        )
        request.write_text(
            json.dumps(
                {
                    "function": case.function,
                    "arguments": dict(case.arguments),
                    "started": str(started),
                }
            )
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT / "src"),
            "KERAS_BACKEND": case.backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **case.environment,
        }
        _wait_for_quiet(self._patience)
        command = [case.python, "-m", "benchmarks.child", str(request), str(result)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                error = _await_process(process, started, case.limit)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if error:
            return Measurement(error=error)
        if not result.exists():
            return Measurement(error=f"the process ended with code {process.returncode}")
        measurement = Measurement(**json.loads(result.read_text()))
        return replace(measurement, error=" ".join(measurement.error.split())[:_ERROR_LENGTH])

    def _print_measurement(self, place: str, measurement: Measurement) -> None:
        if measurement.error:
            self._log.print(f"{place}: {measurement.error}", style="red", markup=False)
        else:
            times = f"{measurement.wall:.3g} s, {measurement.cpu:.3g} s of CPU"
            if measurement.others > BUSY:
                times += f", while others used {measurement.others:.1f} cores"
            self._log.print(f"{place}: {times}", style="dim", markup=False, highlight=False)


def _wait_for_quiet(patience: float) -> None:
    """Wait until others use next to no CPU for a moment, as long as patience lasts."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = busy_seconds()
        time.sleep(_MOMENT)
        if busy_seconds() - before < BUSY * _MOMENT:
            return


def _await_process(process: subprocess.Popen[bytes], started: Path, limit: float) -> str:
    """Wait for a process; return the problem if it exceeds its limit."""
    begun, running = time.monotonic(), False
    while True:
        try:
            process.wait(_POLL)
            return ""
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if not running and started.exists():
                begun, running = now, True
            if now - begun > (limit if running else _START_LIMIT):
                return f"none in {limit:g} s" if running else "not ready to start"
