"""What a run saved and what it cost, in numbers that are counted in the returned model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fabricfit.errors import require
from fabricfit.tables import text_table

__all__ = ["LayerReport", "Level", "OptimizationReport", "Trial"]


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
        KeyError, TypeError
            The values are not those of a report.
        """
        levels = tuple(
            Level(**{**_numbers(each, "metric"), "utilization": tuple(each["utilization"])})
            for each in values["levels"]
        )
        trials = tuple(
            Trial(**{**_numbers(each, "metric"), "strengths": _pairs(each["strengths"])})
            for each in values["trials"]
        )
        both = "resources_before", "resources_after"
        layers = tuple(
            LayerReport(**{**each, **{name: tuple(each[name]) for name in both}})
            for each in values["layers"]
        )
        budget = values["budget"]
        return cls(
            **{
                **_numbers(values, "metric_before", "metric_after"),
                **{name: tuple(values[name]) for name in (*both, "units")},
                "levels": levels,
                "trials": trials,
                "layers": layers,
                "budget": None if budget is None else tuple(budget),
            }
        )

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
        return _frame(rows)

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
        return _frame(rows)

    def __call__(self) -> str:
        """Return the report as text."""
        return str(self)

    def __str__(self) -> str:
        lines = text_table(*self.rows())
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


def _numbers(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return values with the Nones of these names as NaN, which :meth:`to_dict` made of it."""
    return {
        name: math.nan if name in names and value is None else value
        for name, value in values.items()
    }


def _pairs(strengths: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {name: (float(first), float(second)) for name, (first, second) in strengths.items()}


def _by_unit(
    units: tuple[str, ...], amounts: tuple[float, ...], when: str = ""
) -> dict[str, float]:
    return {f"{unit} {when}".strip(): each for unit, each in zip(units, amounts, strict=True)}


def _frame(rows: list[dict[str, Any]]) -> Any:
    return require("pandas", "frames", "a DataFrame").DataFrame(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
