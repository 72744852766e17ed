"""Estimates of one model, built in several ways, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.description.timing import spell_ns
from fabricfit.hardware.resource_records import resource_names
from fabricfit.hls4ml.model_estimate import LayerEstimate, ModelEstimate
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["ComparedEstimates"]

_Cell = Callable[[Any], str]


@dataclass(frozen=True)
class ComparedEstimates(Printable):
    """Estimates of one model beside each other: a column for each configuration.

    Parameters
    ----------
    estimates
        Name of each configuration -> its estimate, all compared with the same budget.
    """

    estimates: Mapping[str, ModelEstimate]

    def to_dict(self) -> dict[str, Any]:
        """Return name -> the estimate as plain numbers, strings, lists and dictionaries."""
        return {name: each.to_dict() for name, each in self.estimates.items()}

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table as text: its header, and its rows, those of the whole network last."""
        body = [row for layer in self._layer_names() for row in self._rows_of_layer(layer)]
        return ["layer", "", *self.estimates], body + list(self._rows_of_all())

    def _layer_names(self) -> list[str]:
        found = (layer.name for each in self.estimates.values() for layer in each.layers)
        return list(dict.fromkeys(found))

    @property
    def _used(self) -> list[str]:
        """Resources that a configuration uses, or the budget limits."""
        all_ = self.estimates.values()
        return [
            name
            for name in resource_names()
            if any(each.resources[name].high or name in each.limits for each in all_)
        ]

    def _label(self, resource: str) -> str:
        return next(iter(self.estimates.values())).label(resource)

    def _rows_of_layer(self, name: str) -> Iterator[list[str]]:
        held = [
            next((layer for layer in each.layers if layer.name == name), None)
            for each in self.estimates.values()
        ]
        present = [layer for layer in held if layer is not None]
        cells: dict[str, _Cell] = {}
        if any(layer.strategy for layer in present):
            cells["built with"] = _spell_build
        for resource in self._used:
            if any(layer.resources[resource].high for layer in present):
                cells[self._label(resource)] = _resource_cell(resource)
        cells |= {"II": lambda layer: str(layer.interval), "latency": lambda x: str(x.latency)}
        titles = [f"{name} ({present[0].kind})"] + [""] * (len(cells) - 1)
        for title, (what, cell) in zip(titles, cells.items(), strict=True):
            yield [title, what, *("" if layer is None else cell(layer) for layer in held)]

    def _rows_of_all(self) -> Iterator[list[str]]:
        cells: dict[str, _Cell] = {self._label(name): _resource_cell(name) for name in self._used}
        for name in ("lut", "ff"):
            cells[f"{self._label(name)} after synthesis"] = _resource_cell(name, "synthesized")
        cells["II"] = lambda each: f"{each.interval} = {spell_ns(each.interval_ns)} ns"
        cells["latency"] = lambda each: f"{each.latency} = {spell_ns(each.latency_ns)} ns"
        if any(each.verdicts for each in self.estimates.values()):
            cells["verdict"] = lambda each: str(each.verdict)
        for number, (what, cell) in enumerate(cells.items()):
            title = "" if number else "total"
            yield [title, what, *(cell(each) for each in self.estimates.values())]

    def _make_document(self) -> Document:
        header, body = self.rows()
        closing = len(list(self._rows_of_all()))
        lines = []
        for name, each in self.estimates.items():
            exceeded = [
                f"{each.label(what) if what in each.limits else what} {verdict}"
                for what, verdict in each.verdicts.items()
            ]
            lines.append(f"{name}: {each.target}" + "".join(f"; {part}" for part in exceeded))
            lines += [f"  note: {note}" for note in (*each.resources.notes, *each.remarks)]
        table = TextTable(header, body, names=frozenset((0, 1)), closing=closing)
        return Document([table, *lines])


def _spell_build(layer: LayerEstimate) -> str:
    return f"{layer.strategy}, RF {layer.reuse_factor}" if layer.strategy else ""


def _resource_cell(name: str, stage: str = "resources") -> _Cell:
    return lambda each: str(getattr(each, stage)[name])
