"""What a run saved and what it cost, in numbers that are counted in the returned model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fabricfit.errors import require
from fabricfit.tables import TextTable

_Part = TypeVar("_Part")

__all__ = [
    "LayerReport",
    "Level",
    "OptimizationReport",
    "Trial",
    "frame",
    "is_better",
    "read_strengths",
]


@dataclass(frozen=True)
class Level:
    """One sparsity level of a run.

    Parameters
    ----------
    sparsity
        What was asked for, a fraction of every resource.
    accepted
        Whether the metric stayed within the tolerance.
    metric
        Validation metric after fine-tuning; NaN if the level was not trained to its end.
    utilization
        Resources that remain by the objective's count, one for each of its dimensions.
    epochs
        Epochs of fine-tuning that were trained.
    seconds
        Wall time of the level.
    note
        What there is to say besides: why the level could not be tried, or why its training ended.
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
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Level:
        """Return the level that plain data describe, each of its values checked."""
        return _part(cls, values)


@dataclass(frozen=True)
class Trial:
    """Strengths of the regularizers that were tried.

    Parameters
    ----------
    strengths
        Layer -> strengths for the groups' norms and for their variances.
    epochs
        Epochs that it was given.
    metric
        What it was judged by; NaN if it diverged.
    chosen
        Whether the run went on with it.
    """

    strengths: dict[str, tuple[float, float]]
    epochs: int
    metric: float
    chosen: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial that plain data describe, each of its values checked."""
        return _part(cls, values)


@dataclass(frozen=True)
class LayerReport:
    """One layer, before and after.

    Parameters
    ----------
    name, kind
        The layer's name and its class.
    weights
        Weights in its kernel.
    nonzeros_before, nonzeros_after
        Those that are not exactly zero.
    resources_before, resources_after
        By the objective's count, one number for each of its dimensions.
    skipped
        Why the layer was not optimized; ``''`` if it was.
    """

    name: str
    kind: str
    weights: int
    nonzeros_before: int
    nonzeros_after: int
    resources_before: tuple[float, ...]
    resources_after: tuple[float, ...]
    skipped: str = ""


@dataclass(frozen=True)
class OptimizationReport:
    """A whole run.

    Parameters
    ----------
    units
        Names of the objective's dimensions.
    layers
        Every layer with a kernel, in the order of the model, and then those without one that take
        something.
    resources_before, resources_after
        Of the whole model, by the objective's count.
    metric_name
        Name of the validation metric.
    metric_before, metric_after
        Its value for the model that came in and the one that went out.
    threshold
        The value that a level had to reach; None if there was none.
    sparsity
        The highest level that was accepted; 0 if none was.
    levels
        All levels in the order in which they were tried.
    budget
        Limits of the resources; None where the run was for a sparsity.
    derivatives
        How the second derivatives that ranked the weights were computed, and their relative errors where
        they are estimates; ``''`` where none were needed.
    trials
        What the search for regularization strengths tried, judged by the validation metric after
        pruning to the target.
    """

    units: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    resources_before: tuple[float, ...]
    resources_after: tuple[float, ...]
    metric_name: str
    metric_before: float
    metric_after: float
    threshold: float | None
    sparsity: float
    levels: tuple[Level, ...]
    budget: tuple[float, ...] | None = None
    trials: tuple[Trial, ...] = ()
    derivatives: str = ""

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that were not optimized, each with the reason."""
        return {layer.name: layer.skipped for layer in self.layers if layer.skipped}

    @property
    def fits(self) -> bool:
        """Whether the returned model is within the budget; True where there is none."""
        if self.budget is None:
            return True
        pairs = zip(self.resources_after, self.budget, strict=True)
        return all(used <= limit for used, limit in pairs)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of layers as text: its header, and its rows with the total last."""
        header = ["layer", "weights", "non-zero"]
        header += [f"{unit} {when}" for unit in self.units for when in ("before", "after")]
        header += ["saved", "remark"]
        body = [
            _row(
                f"{layer.name} ({layer.kind})",
                layer.weights,
                layer.nonzeros_after,
                layer.resources_before,
                layer.resources_after,
                f"not optimized: {layer.skipped}" if layer.skipped else "",
            )
            for layer in self.layers
        ]
        total = _row(
            "total",
            sum(layer.weights for layer in self.layers),
            sum(layer.nonzeros_after for layer in self.layers),
            self.resources_before,
            self.resources_after,
            "",
        )
        return header, [*body, total]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dictionaries; NaN becomes None."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OptimizationReport:
        """Return the report that :meth:`to_dict` told.

        Raises
        ------
        KeyError, TypeError, ValueError
            The values are not those of a report.
        """
        return cls(
            units=_texts(values["units"]),
            layers=tuple(_part(LayerReport, each) for each in values["layers"]),
            resources_before=_amounts(values["resources_before"]),
            resources_after=_amounts(values["resources_after"]),
            metric_name=_text(values["metric_name"]),
            metric_before=_number(values["metric_before"]),
            metric_after=_number(values["metric_after"]),
            threshold=None if values["threshold"] is None else _number(values["threshold"]),
            sparsity=_number(values["sparsity"]),
            levels=tuple(Level.from_dict(each) for each in values["levels"]),
            budget=None if values["budget"] is None else _amounts(values["budget"]),
            trials=tuple(Trial.from_dict(each) for each in values["trials"]),
            derivatives=_text(values["derivatives"]),
        )._checked()

    def _checked(self) -> OptimizationReport:
        """Return the report if its numbers belong together."""
        several = [self.resources_before, self.resources_after]
        several += [] if self.budget is None else [self.budget]
        several += [
            x for layer in self.layers for x in (layer.resources_before, layer.resources_after)
        ]
        several += [level.utilization for level in self.levels if level.utilization]
        if any(len(each) != len(self.units) for each in several):
            raise ValueError(f"there must be a number for each of {self.units}")
        return self

    def layers_frame(self) -> Any:
        """Return the layers as a pandas DataFrame (extra ``frames``): a row each."""
        rows = [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "weights": layer.weights,
                "nonzeros_before": layer.nonzeros_before,
                "nonzeros_after": layer.nonzeros_after,
                **_by_unit(self.units, layer.resources_before, "before"),
                **_by_unit(self.units, layer.resources_after, "after"),
                "skipped": layer.skipped,
            }
            for layer in self.layers
        ]
        return frame(rows)

    def levels_frame(self) -> Any:
        """Return the levels as a pandas DataFrame (extra ``frames``): a row each."""
        none = (math.nan,) * len(self.units)
        rows = [
            {
                "sparsity": level.sparsity,
                "accepted": level.accepted,
                self.metric_name: level.metric,
                **_by_unit(self.units, level.utilization or none),
                "epochs": level.epochs,
                "seconds": level.seconds,
                "note": level.note,
            }
            for level in self.levels
        ]
        return frame(rows)

    def __call__(self) -> str:
        """Return the report as text."""
        return str(self)

    def __str__(self) -> str:
        header, rows = self.rows()
        lines = TextTable(header, rows, frozenset((0, len(header) - 1)), closing=1).lines()
        if self.budget is not None:
            limits = zip(self.units, self.resources_after, self.budget, strict=True)
            shares = ", ".join(
                f"{used:,.0f} of {limit:,.0f} {unit}" for unit, used, limit in limits
            )
            lines.append(f"budget: {shares}; it {'fits' if self.fits else 'does not fit'}")
        demand = (
            ""
            if self.threshold is None
            else (f" (at least as good as {self.threshold:.4f} was required)")
        )
        lines.append(
            f"{self.metric_name}: {self.metric_before:.4f} before, {self.metric_after:.4f} after"
            + demand
        )
        if self.derivatives:
            lines.append(f"ranked by second derivatives: {self.derivatives}")
        return "\n".join(lines)


def is_better(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the costs of one are nowhere above those of the other, and somewhere below (Pareto)."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _row(
    name: str,
    weights: int,
    nonzeros: int,
    before: tuple[float, ...],
    after: tuple[float, ...],
    remark: str,
) -> list[str]:
    numbers = [f"{value:,.0f}" for pair in zip(before, after, strict=True) for value in pair]
    saved = " / ".join(f"{1 - a / b:.1%}" if b else "-" for b, a in zip(before, after, strict=True))
    return [name, f"{weights:,}", f"{nonzeros:,}", *numbers, saved, remark]


def _number(value: Any) -> float:
    """Return a number, NaN for the None that :meth:`OptimizationReport.to_dict` made of it."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"a number was expected. Received: {value!r}")
    return math.nan if value is None else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected. Received: {value!r}")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _list(values))


def _amounts(values: Any) -> tuple[float, ...]:
    return tuple(_number(each) for each in _list(values))


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError(f"a list was expected. Received: {values!r}")
    return values


def read_strengths(values: Any) -> dict[str, tuple[float, float]]:
    """Return regularization strengths from plain data: layer -> those of the norms and of the variances.

    Raises
    ------
    TypeError
        A name is no text, or a strength no number.
    """
    return {
        _text(name): (_number(pair[0]), _number(pair[1])) for name, pair in dict(values).items()
    }


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("name", "kind", "skipped", "note"), _text),
    **dict.fromkeys(("weights", "nonzeros_before", "nonzeros_after", "epochs"), _number),
    **dict.fromkeys(("sparsity", "metric", "seconds"), _number),
    **dict.fromkeys(("resources_before", "resources_after", "utilization"), _amounts),
    **dict.fromkeys(("accepted", "chosen"), bool),
    "strengths": read_strengths,
}


def _part(kind: Callable[..., _Part], values: Any) -> _Part:
    """Return a layer, level or trial of a report, each of its values checked."""
    return kind(**{name: _READ[name](each) for name, each in dict(values).items()})


def _by_unit(
    units: tuple[str, ...], amounts: tuple[float, ...], when: str = ""
) -> dict[str, float]:
    return {f"{unit} {when}".strip(): each for unit, each in zip(units, amounts, strict=True)}


def frame(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a pandas DataFrame (extra ``frames``)."""
    return require("pandas", "frames", "a DataFrame").DataFrame(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
