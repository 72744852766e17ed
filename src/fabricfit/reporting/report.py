"""Report of a run: resources, weights and metric before and after, counted in the returned model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fabricfit.description.skip_reasons import SkipReason
from fabricfit.errors import require
from fabricfit.reporting.layer_formats import LayerFormats
from fabricfit.reporting.plain import (
    read_amounts,
    read_number,
    read_strengths,
    read_text,
    read_texts,
    to_plain,
)
from fabricfit.tables import TextTable

_Part = TypeVar("_Part")

__all__ = [
    "LayerReport",
    "Level",
    "OptimizationReport",
    "Trial",
    "frame",
    "is_better",
]


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
        return _read_part(cls, values)


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
        return _read_part(cls, values)


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
class OptimizationReport:
    """Outcome of a whole run.

    Parameters
    ----------
    units
        Names of the objective's dimensions.
    layers
        Every layer with a kernel, in the order of the model, and then those without one that use
        resources.
    resources_before, resources_after
        Resources that the whole model uses, by the objective's count.
    metric_name
        Name of the validation metric.
    metric_before, metric_after
        Its value for the given and for the returned model.
    threshold
        Value that a level has to reach; None without a requirement.
    sparsity
        Sparsity of the highest accepted level; 0 without one.
    levels
        All levels, in the order in which they were tried.
    budget
        Limits of the resources; None for a run to a sparsity.
    derivatives
        How the second derivatives that ranked the weights were computed, and their relative errors where
        they are estimates; ``''`` where none were needed.
    trials
        Choices that the search for regularization strengths tried.
    formats
        Number formats of the layers whose precision was trained.
    evaluated
        What the metric is of, as a part of a sentence; ``''`` for the Keras model.
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
    formats: tuple[LayerFormats, ...] = ()
    evaluated: str = ""

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
            _make_row(
                f"{layer.name} ({layer.kind})",
                layer.weights,
                layer.nonzeros_after,
                layer.resources_before,
                layer.resources_after,
                layer.remark,
            )
            for layer in self.layers
        ]
        total = _make_row(
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
        return to_plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OptimizationReport:
        """Return the report whose :meth:`to_dict` gave these values.

        Raises
        ------
        KeyError, TypeError, ValueError
            The values are not those of a report.
        """
        return cls(
            units=read_texts(values["units"]),
            layers=tuple(_read_part(LayerReport, each) for each in values["layers"]),
            resources_before=read_amounts(values["resources_before"]),
            resources_after=read_amounts(values["resources_after"]),
            metric_name=read_text(values["metric_name"]),
            metric_before=read_number(values["metric_before"]),
            metric_after=read_number(values["metric_after"]),
            threshold=None if values["threshold"] is None else read_number(values["threshold"]),
            sparsity=read_number(values["sparsity"]),
            levels=tuple(Level.from_dict(each) for each in values["levels"]),
            budget=None if values["budget"] is None else read_amounts(values["budget"]),
            trials=tuple(Trial.from_dict(each) for each in values["trials"]),
            derivatives=read_text(values["derivatives"]),
            formats=tuple(LayerFormats.from_dict(each) for each in values.get("formats", ())),
            evaluated=read_text(values.get("evaluated", "")),
        )._check_units()

    def _check_units(self) -> OptimizationReport:
        """Return the report if it has a number for each resource everywhere."""
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
                **_label_by_unit(self.units, layer.resources_before, "before"),
                **_label_by_unit(self.units, layer.resources_after, "after"),
                "skipped": layer.skipped,
                "skip_reason": None if layer.skip_reason is None else layer.skip_reason.value,
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
                **_label_by_unit(self.units, level.utilization or none),
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
            else f" (at least as good as {self.threshold:.4f} was required)"
        )
        lines.append(
            f"{self.metric_name}: {self.metric_before:.4f} before, {self.metric_after:.4f} after"
            + demand
        )
        if self.evaluated:
            lines.append(f"{self.metric_name} is of {self.evaluated}")
        if self.derivatives:
            lines.append(f"ranked by second derivatives: {self.derivatives}")
        return "\n".join(lines)


def is_better(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the costs of one are nowhere above those of the other, and somewhere below (Pareto)."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _make_row(
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


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("name", "kind", "skipped", "note"), read_text),
    **dict.fromkeys(("built_before", "built_after"), read_text),
    **dict.fromkeys(("weights", "nonzeros_before", "nonzeros_after", "epochs"), read_number),
    "calls": read_number,
    **dict.fromkeys(("sparsity", "metric", "seconds"), read_number),
    **dict.fromkeys(("resources_before", "resources_after", "utilization"), read_amounts),
    **dict.fromkeys(("accepted", "chosen"), bool),
    "strengths": read_strengths,
    "skip_reason": lambda value: None if value is None else SkipReason(value),
}


def _read_part(kind: Callable[..., _Part], values: Any) -> _Part:
    """Return a layer, level or trial of a report, each of its values checked."""
    return kind(**{name: _READERS[name](each) for name, each in dict(values).items()})


def _label_by_unit(
    units: tuple[str, ...], amounts: tuple[float, ...], when: str = ""
) -> dict[str, float]:
    return {f"{unit} {when}".strip(): each for unit, each in zip(units, amounts, strict=True)}


def frame(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a pandas DataFrame (extra ``frames``)."""
    return require("pandas", "frames", "a DataFrame").DataFrame(rows)
