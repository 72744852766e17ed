"""What two networks, in floats and quantized, are worth on test data: by class, or by residual.

Plain data, computed from predictions; pages and tables are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from fabricfit.reporting.plain import (
    read_amounts,
    read_count,
    read_error,
    read_number,
    read_text,
    read_texts,
    require_list,
    to_plain,
)
from fabricfit.reporting.statistics import Measured
from fabricfit.reporting.summary import spell_metric
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["Classes", "NetworkPerformance", "OutputPerformance", "Performance", "Residuals"]


@dataclass(frozen=True)
class Classes:
    """How well classes are told apart.

    Parameters
    ----------
    accuracy
        Share of samples that are taken for what they are; of several labels at once, of all labels.
    rates
        Of each class the share of its samples that are taken for it.
    areas
        Of each class the area under its ROC curve, against all others.
    curves
        Of each class points of that curve: share of others, and of the class, above a threshold.
    confusion
        How many samples of each class (a row) are taken for each; empty where there are too many classes, or
        samples may have several labels.
    """

    accuracy: Measured
    rates: tuple[Measured, ...]
    areas: tuple[Measured, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]
    confusion: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Residuals:
    """How far predicted numbers are from those wanted.

    Parameters
    ----------
    bias
        Mean of predicted minus wanted.
    deviation
        Root of the mean of its square.
    counts
        How many residuals are in each part of the histogram, whose ends are the output's ``edges``.
    """

    bias: Measured
    deviation: Measured
    counts: tuple[int, ...]


@dataclass(frozen=True)
class NetworkPerformance:
    """What one network is worth at an output: classes, or residuals of each number."""

    classes: Classes | None = None
    residuals: tuple[Residuals, ...] = ()


@dataclass(frozen=True)
class OutputPerformance:
    """What the networks are worth at an output.

    Parameters
    ----------
    name
        The output.
    labels
        Names of the classes, or of the numbers that are predicted.
    counts
        Samples of each class; empty where numbers are predicted.
    edges
        For each number the ends of the parts of the histogram of its residuals.
    in_floats, quantized
        The model as Keras computes it, and the network that hls4ml builds; None where it is not emulated.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    edges: tuple[tuple[float, ...], ...]
    in_floats: NetworkPerformance
    quantized: NetworkPerformance | None


@dataclass(frozen=True)
class Performance(Printable):
    """What the model in floats and the network that hls4ml builds are worth on test data.

    Parameters
    ----------
    samples
        Number of samples.
    metric_name
        The run's validation metric.
    in_floats, quantized
        Its values on the test data; the latter NaN where the network is not emulated.
    difference
        Quantized less floats, with the error of the difference on the same samples.
    outputs
        More of each output; empty where nothing is known of the kind of its targets.
    not_emulated
        Why there is no quantized network; ``''`` where there is one.
    """

    samples: int
    metric_name: str
    in_floats: Measured
    quantized: Measured
    difference: Measured
    outputs: tuple[OutputPerformance, ...] = ()
    not_emulated: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain numbers, strings, lists and dictionaries; NaN becomes None."""
        found: dict[str, Any] = to_plain(asdict(self))
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Performance:
        """Return what plain data describe, each value checked.

        Raises
        ------
        KeyError, TypeError, ValueError
            The values are not those of a performance.
        """
        return cls(
            read_count(values["samples"]),
            read_text(values["metric_name"]),
            _read_measured(values["in_floats"]),
            _read_measured(values["quantized"]),
            _read_measured(values["difference"]),
            tuple(map(_read_output, require_list(values["outputs"]))),
            read_text(values["not_emulated"]),
        )

    def _make_document(self) -> Document:
        parts: list[str | TextTable] = [self._say_metric()]
        for output in self.outputs:
            parts += ["", TextTable(*self._tabulate(output))]
        if self.not_emulated:
            parts.append(f"in floats only: {self.not_emulated}")
        return Document(parts)

    def _say_metric(self) -> str:
        in_floats, quantized = (
            spell_metric(each.value, each.error) for each in (self.in_floats, self.quantized)
        )
        text = f"{self.metric_name} on {self.samples:,} test samples: {in_floats} in floats"
        if self.not_emulated:
            return text
        change = spell_metric(self.difference.value, self.difference.error)
        return f"{text}, {quantized} quantized (difference {change})"

    @staticmethod
    def _tabulate(output: OutputPerformance) -> tuple[list[str], list[list[str]]]:
        networks = [("floats", output.in_floats)]
        networks += [] if output.quantized is None else [("quantized", output.quantized)]
        names = ("recognized", "AUC") if output.counts else ("bias", "RMS of residuals")
        header = [output.name, *(["samples"] if output.counts else [])]
        header += [f"{name}, {which}" for name in names for which, _ in networks]
        rows = []
        for place, label in enumerate(output.labels):
            columns = [list_measured(each, place) for _, each in networks]
            cells = [
                spell_metric(each.value, each.error)
                for pair in zip(*columns, strict=True)
                for each in pair
            ]
            counted = [f"{output.counts[place]:,}"] if output.counts else []
            rows.append([label, *counted, *cells])
        return header, rows


def list_measured(network: NetworkPerformance, place: int) -> tuple[Measured, Measured]:
    """Return the two numbers that tables have of a class, or of a predicted number."""
    if network.classes is not None:
        return network.classes.rates[place], network.classes.areas[place]
    return network.residuals[place].bias, network.residuals[place].deviation


def _read_measured(values: Mapping[str, Any]) -> Measured:
    return Measured(read_number(values["value"]), read_error(values["error"]))


def _read_several(values: Any) -> tuple[Measured, ...]:
    return tuple(map(_read_measured, require_list(values)))


def _read_counts(values: Any) -> tuple[int, ...]:
    return tuple(map(read_count, require_list(values)))


def _read_output(values: Mapping[str, Any]) -> OutputPerformance:
    labels = read_texts(values["labels"])
    counts = _read_counts(values["counts"])
    edges = tuple(map(read_amounts, require_list(values["edges"])))
    if any(not all(low <= high for low, high in pairwise(each)) for each in edges):
        raise ValueError("the ends of a histogram's parts must ascend")
    found = OutputPerformance(
        read_text(values["name"]),
        labels,
        counts,
        edges,
        _read_network(values["in_floats"]),
        None if values["quantized"] is None else _read_network(values["quantized"]),
    )
    _check_lengths(found)
    return found


def _check_lengths(output: OutputPerformance) -> None:
    """Refuse an output that does not have everything of each class or number."""
    networks = [output.in_floats, *([] if output.quantized is None else [output.quantized])]
    count, lengths = len(output.labels), [len(output.counts or output.labels)]
    for each in networks:
        if (each.classes is None) != (not output.counts):
            raise ValueError("there must be classes where samples are counted, and only there")
        if each.classes is None:
            lengths += [len(each.residuals), len(output.edges)]
            pairs = zip(each.residuals, output.edges, strict=False)
            if any(len(one.counts) + 1 != len(edges) for one, edges in pairs):
                raise ValueError("a histogram must have one edge more than it has parts")
        else:
            parts: Sequence[Any] = (each.classes.rates, each.classes.areas, each.classes.curves)
            lengths += map(len, parts)
            square = each.classes.confusion
            lengths += map(len, (square, *square)) if square else []
    if any(length != count for length in lengths):
        raise ValueError(f"there must be {count} of everything. Received: {lengths}")


def _read_network(values: Mapping[str, Any]) -> NetworkPerformance:
    classes = values["classes"]
    residuals = tuple(
        Residuals(
            _read_measured(each["bias"]),
            _read_measured(each["deviation"]),
            _read_counts(each["counts"]),
        )
        for each in require_list(values["residuals"])
    )
    if classes is None:
        return NetworkPerformance(None, residuals)
    curves = []
    for curve in require_list(classes["curves"]):
        points = [read_amounts(point) for point in require_list(curve)]
        if any(not 0 <= part <= 1 for point in points for part in point):
            raise ValueError("points of a curve must be shares, from 0 to 1")
        curves.append(tuple((x, y) for x, y in points))
    return NetworkPerformance(
        Classes(
            _read_measured(classes["accuracy"]),
            _read_several(classes["rates"]),
            _read_several(classes["areas"]),
            tuple(curves),
            tuple(map(_read_counts, require_list(classes["confusion"]))),
        ),
        residuals,
    )
