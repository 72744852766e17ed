"""Report of a run: resources, weights and metric before and after, counted in the returned model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fabricfit.description.timing import Timing
from fabricfit.description.verdicts import Verdict, compare_with_limit, worst_verdict
from fabricfit.errors import require
from fabricfit.reporting.alternatives import Alternative, tabulate_alternatives
from fabricfit.reporting.layer_formats import LayerFormats
from fabricfit.reporting.plain import (
    read_amounts,
    read_errors,
    read_number,
    read_text,
    read_texts,
    to_plain,
)
from fabricfit.reporting.report_parts import (
    BuiltLayer,
    LayerReport,
    Level,
    Trial,
    read_part,
    read_timing,
)
from fabricfit.tables import Document, Printable, TextTable

__all__ = [
    "LayerReport",
    "Level",
    "OptimizationReport",
    "Trial",
    "frame",
    "is_better",
]


@dataclass(frozen=True)
class OptimizationReport(Printable):
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
    highest
        Upper ends of the error bars of what the returned model uses; empty where they are not known.
    counted
        What the resources are of, as a part of a sentence: the stage, the part, the clock and the compiler.
    remarks
        What the resources rest on: the reports behind the laws, and what of the design lies outside of them.
    timing
        Latency and initiation interval before and after, with the deadlines if there are any; empty where
        they are not known.
    alternatives
        The designs that the run chose from, the chosen one first; empty where the design was given.
    metric_errors
        Standard errors of the metric before and after, from the number of samples; NaN where one is not
        known, empty where neither is.
    built
        Number formats, strategy and reuse factor of each layer; empty without a configuration of hls4ml.
    built_for
        Names and values of what the design is built for and with: part, clock, backend, tool.
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
    highest: tuple[float, ...] = ()
    counted: str = ""
    remarks: tuple[str, ...] = ()
    timing: tuple[Timing, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    metric_errors: tuple[float, ...] = ()
    built: tuple[BuiltLayer, ...] = ()
    built_for: tuple[tuple[str, str], ...] = ()

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that were not optimized, each with the reason."""
        return {layer.name: layer.skipped for layer in self.layers if layer.skipped}

    @property
    def fits(self) -> bool:
        """Whether the returned model is within the budget, as far as is likely; True where there is none."""
        return self.verdict is not Verdict.DOES_NOT_FIT

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Whether the returned model fits, resource by resource; empty without a budget."""
        if self.budget is None:
            return ()
        used = zip(
            self.resources_after, self.highest or self.resources_after, self.budget, strict=True
        )
        return tuple(compare_with_limit(*each) for each in used)

    @property
    def verdict(self) -> Verdict:
        """Whether the returned model fits: the worst of :attr:`verdicts` and of the deadlines."""
        return worst_verdict((*self.verdicts, *(each.verdict for each in self.timing)))

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
        found = {**asdict(self), "timing": [each.to_dict() for each in self.timing]}
        return to_plain(found)

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
            layers=tuple(read_part(LayerReport, each) for each in values["layers"]),
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
            highest=read_amounts(values.get("highest", ())),
            counted=read_text(values.get("counted", "")),
            remarks=read_texts(values.get("remarks", ())),
            timing=tuple(read_timing(each) for each in values.get("timing", ())),
            alternatives=tuple(map(Alternative.from_dict, values.get("alternatives", ()))),
            metric_errors=read_errors(values.get("metric_errors", [])),
            built=tuple(map(BuiltLayer.from_dict, values.get("built", ()))),
            built_for=tuple(
                (read_text(name), read_text(each)) for name, each in values.get("built_for", ())
            ),
        )._check_units()

    def _check_units(self) -> OptimizationReport:
        """Return the report if it has a number for each resource everywhere."""
        if not self.units or len(set(self.units)) < len(self.units):
            raise ValueError(f"there must be resources of different names. Received: {self.units}")
        several = [self.resources_before, self.resources_after]
        several += [] if self.budget is None else [self.budget]
        several += [self.highest] if self.highest else []
        several += [
            x for layer in self.layers for x in (layer.resources_before, layer.resources_after)
        ]
        several += [each.resources for each in self.alternatives if each.resources]
        several += [level.utilization for level in self.levels if level.utilization]
        if any(len(each) != len(self.units) for each in several):
            raise ValueError(f"there must be a number for each of {self.units}")
        if len(self.metric_errors) not in (0, 2):
            raise ValueError("there must be an error of the metric before and one after, or none")
        return self

    def _say_verdict(self) -> str:
        """Say whether it fits, and which error bars reach beyond the budget."""
        beyond = [
            f"{unit} up to {high:,.0f}"
            for unit, high, verdict in zip(
                self.units, self.highest or self.resources_after, self.verdicts, strict=True
            )
            if verdict is Verdict.MAY_FIT
        ]
        verdict = worst_verdict(self.verdicts)
        return f"{verdict} ({', '.join(beyond)})" if beyond else str(verdict)

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

    def _make_document(self) -> Document:
        header, rows = self.rows()
        table = TextTable(header, rows, frozenset((0, len(header) - 1)), closing=1)
        lines: list[str | TextTable] = [table]
        if self.budget is not None:
            limits = zip(self.units, self.resources_after, self.budget, strict=True)
            shares = ", ".join(
                f"{used:,.0f} of {limit:,.0f} {unit}" for unit, used, limit in limits
            )
            lines.append(f"budget: {shares}; it {self._say_verdict()}")
        lines += map(str, self.timing)
        if self.counted:
            lines.append(f"counted: {self.counted}")
        lines += [f"note: {remark}" for remark in self.remarks]
        demand = (
            ""
            if self.threshold is None
            else f" (at least as good as {self.threshold:.4f} was required)"
        )
        error = self.metric_errors[-1] if self.metric_errors else math.nan
        lines.append(
            f"{self.metric_name}: {self.metric_before:.4f} before, {self.metric_after:.4f} after"
            + (f" (± {error:.2g})" if math.isfinite(error) else "")
            + demand
        )
        if self.evaluated:
            lines.append(f"{self.metric_name} is of {self.evaluated}")
        if self.derivatives:
            lines.append(f"ranked by second derivatives: {self.derivatives}")
        if len(self.alternatives) > 1:
            lines += ["", "designs that were tried:"]
            lines.append(tabulate_alternatives(self.alternatives, self.units, self.metric_name))
        return Document(lines)


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


def _label_by_unit(
    units: tuple[str, ...], amounts: tuple[float, ...], when: str = ""
) -> dict[str, float]:
    return {f"{unit} {when}".strip(): each for unit, each in zip(units, amounts, strict=True)}


def frame(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a pandas DataFrame (extra ``frames``)."""
    return require("pandas", "frames", "a DataFrame").DataFrame(rows)
