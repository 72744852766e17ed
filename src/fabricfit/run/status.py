"""Status of a run after some of its events: for views, reports and readers of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fabricfit.run.journal import Record

__all__ = ["Status"]

_SEARCHING = "searching regularization strengths"
_COUNTED = {
    _SEARCHING: "epoch",
    "training precision": "epoch",
    "choosing networks": "step",
    "training the smaller model": "epoch",
}
"""Stage other than a level -> what is counted in it."""


@dataclass
class Status:
    """Status of a run after some of its events.

    Parameters
    ----------
    stage
        ``'preparing'``, ``'searching regularization strengths'``, ``'level 3'``…, ``'finished'``.
    metric_name, baseline, threshold, increasing
        The validation metric, what it was before, what it has to reach, and whether more is better.
    units, before, limits
        Names of the resources, resource usage of the model before, and the budget, if there is one.
    used
        Present resource usage by the objective's count.
    others
        Usage of all but the products whose precision is trained.
    target
        The last level.
    level, epoch, epochs, metric, loss
        Of the level that is being tried: its sparsity, epochs that are done and at most to do, and the last
        epoch's validation metric and loss. Once precision is trained, steps of the choice of networks.
    levels
        The levels that are done, as plain data.
    trials
        Trainings of the search for regularization strengths that are done.
    begun, now
        Seconds since 1970: of the first event, and of the last one.
    """

    stage: str = "preparing"
    metric_name: str = ""
    baseline: float | None = None
    threshold: float | None = None
    increasing: bool = True
    units: tuple[str, ...] = ()
    before: tuple[float, ...] = ()
    limits: tuple[float, ...] | None = None
    used: tuple[float, ...] = ()
    target: float = 1.0
    level: float = 0.0
    epoch: int = 0
    epochs: int = 0
    metric: float | None = None
    loss: float | None = None
    others: tuple[float, ...] = ()
    levels: list[dict[str, Any]] = field(default_factory=list)
    trials: int = 0
    begun: float = 0.0
    now: float = 0.0
    _levels_since: float = 0.0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Status:
        """Return the status after these records."""
        status = cls()
        for record in records:
            status.apply(record)
        return status

    def apply(self, record: Record) -> None:
        """Update the status by an event."""
        data = record.data
        self.begun = self.begun or record.time
        self.now = record.time
        if record.event == "baseline":
            self._apply_baseline(data)
        elif record.event == "searching":
            self.stage, self.epoch, self.epochs = _SEARCHING, 0, data.get("epochs", 0)
            self._levels_since = record.time
        elif record.event == "trial":
            self.epoch, self.trials = data["epochs"], self.trials + 1
        elif record.event == "training":
            self.stage, self.epoch, self.epochs = "training precision", 0, data["epochs"]
            self.others, self._levels_since = tuple(data["resources"]), record.time
        elif record.event == "choosing":
            if self.stage != "choosing networks":
                self._levels_since = record.time
            self.stage = "choosing networks"
            self.epoch, self.epochs = data["step"], data["steps"]
        elif record.event == "level":
            if not self._levels_since or self.stage == _SEARCHING:
                self._levels_since = record.time
            self.level, self.epoch, self.metric, self.loss = data["sparsity"], 0, None, None
            self.epochs = data.get("epochs", 0)
            self.stage = f"level {len(self.levels) + 1}"
        elif record.event == "rewinding":
            self.stage, self.epoch, self.epochs = "rewinding", 0, data["epochs"]
        elif record.event == "finishing":
            self.stage, self.epoch, self.epochs = "training the smaller model", 0, data["epochs"]
            self._levels_since = record.time
        elif record.event == "frozen":
            self.used = tuple(data["resources"])
        elif record.event == "epoch":
            self.epoch, self.metric, self.loss = data["epoch"] + 1, data["metric"], data["loss"]
            if "cost" in data:  # LUTs of the adders of the products, beside what else there is
                pairs = zip(self.units, self.others, strict=True)
                self.used = tuple(n + data["cost"] * (unit == "LUT") for unit, n in pairs)
        elif record.event == "settled":
            self.levels.append(data)
        elif record.event == "finished":
            self.stage = "finished"
            self.metric, self.used = data["metric"], tuple(data["resources"])

    def _apply_baseline(self, data: dict[str, Any]) -> None:
        self.metric_name, self.baseline = data["name"], data["metric"]
        self.threshold, self.increasing = data["threshold"], data["increasing"]
        self.units = tuple(data["units"])
        self.before = self.used = tuple(data["resources"])
        self.limits = None if data["limits"] is None else tuple(data["limits"])
        self.target = data["target"]
        self.levels = []  # a resumed run records them again

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self.stage == "finished"

    @property
    def counted(self) -> str:
        """What :attr:`epoch` and :attr:`epochs` count in stages other than levels; ``''`` in levels."""
        return _COUNTED.get(self.stage, "") if self.epochs else ""

    @property
    def share_done(self) -> float:
        """Part of the way to the last level that is done, in [0, 1]."""
        if self.is_finished:
            return 1.0
        if self.counted:
            return self.epoch / self.epochs if self.epochs else 0.0
        done = max((each["sparsity"] for each in self.levels), default=0.0)
        part = self.epoch / self.epochs if self.epochs and self.stage != "rewinding" else 0.0
        reached = done + max(self.level - done, 0.0) * part
        return min(reached / self.target, 1.0) if self.target else 1.0

    def seconds_left(self, now: float) -> float | None:
        """Return an estimate of the remaining time in seconds; None while nothing is known.

        Levels last about as long as one another, and the later ones are closer together: the share that
        is done is squared. The present level is estimated to last at least as long as those before it.
        """
        if self.is_finished:
            return 0.0
        done = self.share_done if self.counted else self.share_done**2
        if not self._levels_since or done < 0.02:
            return None
        by_share = max(now - self._levels_since, 0.0) * (1 - done) / done
        durations = [each["seconds"] for each in self.levels if each["epochs"]]
        part = self.epoch / self.epochs if self.epochs else 0.0
        if self.counted:
            return by_share
        this_level = sum(durations) / len(durations) * (1 - part) if durations else 0.0
        return max(by_share, this_level)
