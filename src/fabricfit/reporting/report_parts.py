"""Parts of a run's report: its levels, its trials, and its layers before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fabricfit.description.skip_reasons import SkipReason
from fabricfit.description.timing import DEADLINES, Timing
from fabricfit.reporting.plain import (
    read_amounts,
    read_count,
    read_flag,
    read_number,
    read_strengths,
    read_text,
    to_plain,
)

_Part = TypeVar("_Part")

__all__ = ["BuiltLayer", "LayerReport", "Level", "Trial", "read_part", "read_timing"]


@dataclass(frozen=True)
class Level:
    """One sparsity level of a run.

    Parameters
    ----------
    sparsity
        Requested sparsity, a fraction of every resource.
    accepted
        Whether the metric stayed within the tolerance.
    metric
        Validation metric after fine-tuning; NaN if the level was not trained to its end.
    utilization
        Resources used after the level, by the objective's count, one number for each of its dimensions.
    epochs
        Number of epochs of fine-tuning.
    seconds
        Wall time of the level, in seconds.
    note
        Further remark: why the level could not be tried, or why its training ended early.
    """

    sparsity: float
    accepted: bool
    metric: float
    utilization: tuple[float, ...]
    epochs: int
    seconds: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the level as plain data; NaN becomes None."""
        return to_plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Level:
        """Return the level that plain data describe, each of its values checked."""
        return read_part(cls, values)


@dataclass(frozen=True)
class Trial:
    """One choice of regularization strengths that the search tried.

    Parameters
    ----------
    strengths
        Layer -> regularization strengths for the groups' norms and for their variances.
    epochs
        Number of epochs of its training.
    metric
        Validation metric after pruning to the target; NaN if the training diverged.
    chosen
        Whether the run continued with it.
    """

    strengths: dict[str, tuple[float, float]]
    epochs: int
    metric: float
    chosen: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial that plain data describe, each of its values checked."""
        return read_part(cls, values)


@dataclass(frozen=True)
class LayerReport:
    """One layer before and after the run.

    Parameters
    ----------
    name, kind
        The layer's name and its class.
    weights
        Number of weights in its kernel.
    nonzeros_before, nonzeros_after
        Number of weights that are not exactly zero.
    resources_before, resources_after
        Resources used, by the objective's count, one number for each of its dimensions.
    skipped
        Why the layer was not optimized; ``''`` if it was.
    skip_reason
        The kind of that reason; None if it was, or where it is not known.
    calls
        Number of times that the model calls the layer; the resources are those of all calls.
    built_before, built_after
        How hls4ml builds it, by the configuration that was given and by the one that came out; empty where
        that is not known.
    """

    name: str
    kind: str
    weights: int
    nonzeros_before: int
    nonzeros_after: int
    resources_before: tuple[float, ...]
    resources_after: tuple[float, ...]
    skipped: str = ""
    skip_reason: SkipReason | None = None
    calls: int = 1
    built_before: str = ""
    built_after: str = ""

    @property
    def remark(self) -> str:
        """What there is to say of it: why it was not optimized, its calls, how it is built."""
        parts = [f"{self.calls} calls"] if self.calls > 1 else []
        parts += [f"not optimized: {self.skipped}"] if self.skipped else []
        if self.built_before != self.built_after and self.built_before:
            parts.append(f"{self.built_after} instead of {self.built_before}")
        return "; ".join(parts)


@dataclass(frozen=True)
class BuiltLayer:
    """A layer of the returned model, as hls4ml builds it for one call of it.

    Parameters
    ----------
    name, kind
        The layer's name, as hls4ml calls it, and its class.
    strategy
        The strategy; ``''`` without a kernel.
    reuse_factor
        The reuse factor; 0 without a kernel.
    weights, results
        Number formats of its weights and of its results, ``'auto'`` where hls4ml chooses; ``''`` where they
        are not known.
    latency, interval
        Cycles from its input to its output, and between two samples.
    """

    name: str
    kind: str
    strategy: str
    reuse_factor: int
    weights: str
    results: str
    latency: float
    interval: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BuiltLayer:
        """Return the layer that plain data describe, each of its values checked."""
        kinds = {"reuse_factor": read_count, "latency": read_number, "interval": read_number}
        read: dict[str, Any] = {
            name: kinds.get(name, read_text)(each) for name, each in dict(values).items()
        }
        return cls(**read)


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("name", "kind", "skipped", "note"), read_text),
    **dict.fromkeys(("built_before", "built_after"), read_text),
    **dict.fromkeys(
        ("weights", "nonzeros_before", "nonzeros_after", "epochs", "calls"), read_count
    ),
    **dict.fromkeys(("sparsity", "metric", "seconds"), read_number),
    **dict.fromkeys(("resources_before", "resources_after", "utilization"), read_amounts),
    **dict.fromkeys(("accepted", "chosen"), read_flag),
    "strengths": read_strengths,
    "skip_reason": lambda value: None if value is None else SkipReason(value),
}


def read_part(kind: Callable[..., _Part], values: Any) -> _Part:
    """Return a layer, level or trial of a report, each of its values checked."""
    return kind(**{name: _READERS[name](each) for name, each in dict(values).items()})


def read_timing(values: Any) -> Timing:
    """Return the latency or the interval that plain data describe, each of its values checked.

    Raises
    ------
    KeyError, TypeError, ValueError
        They are those of neither.
    """
    given = dict(values)
    name, optional = read_text(given["name"]), ("deadline_ns", "before")
    if name not in DEADLINES:
        raise ValueError(f"one of {DEADLINES} was expected. Received: {name!r}")
    numbers = {each: read_number(given[each]) for each in ("cycles", "highest", "clock_ns")}
    known = {each: read_number(given[each]) for each in optional if given.get(each) is not None}
    return Timing(name, **numbers, **known)
