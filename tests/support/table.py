"""The table of what can be done with each layer, as the documentation shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["PATH", "read_rows", "write_table"]

PATH = Path(__file__).parents[2] / "docs" / "layers.md"

_COLUMNS = {
    "prune": "prune",
    "share": "share",
    "count": "count DSPs",
    "reduce": "remove units",
    "save": "save, load",
    "convert": "hls4ml converts",
}
_HEAD = """# What can be done with each layer

Every cell is the outcome of a test on a model of the layer and a classifier behind it. The table is
written by `python -m tests.support`, and the tests fail where it is not true.

- **prune**: half of the layer's weights are zero, and stay zero in training. **share**: half of its pairs of
  weights share a value.
- **count DSPs**: a run for DSPs with hls4ml's Latency strategy halves them.
- **remove units**: all-zero units are removed from the model, which computes the same.
- **save, load**: the result can be loaded in a process without fabricfit, and computes the same there.
- **hls4ml converts**: hls4ml 1.3 converts the pruned model, and its code computes what Keras does, or the
  reason why not. `fit` refuses such a model with that reason, before anything is trained.

The table is of one model a layer. Options that hls4ml ignores (dilation, groups, `go_backwards`, another
axis of a normalization, …) are refused too, see [`fabricfit.hls4ml.limits`](reference/hls4ml.md); `estimate`
notes them, and `verify` finds such a design to fail.

"""


def write_table(outcomes: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page, with a row for each layer and notes for what does not apply."""
    lines = [
        "| layer | " + " | ".join(_COLUMNS.values()) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
    ]
    notes: list[str] = []
    for name, found in outcomes.items():
        cells = []
        for check in _COLUMNS:
            outcome = found.get(check, "")
            if outcome.startswith("no: "):
                if outcome[4:] not in notes:
                    notes.append(outcome[4:])
                outcome = f"no ({notes.index(outcome[4:]) + 1})"
            cells.append(outcome)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    listed = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return _HEAD + "\n".join(lines) + "\n\n" + "\n".join(listed) + "\n"


def read_rows(text: str) -> dict[str, dict[str, str]]:
    """Return the outcomes that a page tells: the inverse of :func:`write_table`."""
    notes, rows = {}, {}
    for line in text.splitlines():
        number, dot, note = line.partition(". ")
        if dot and number.isdigit():
            notes[f"no ({number})"] = f"no: {note}"
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| layer"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found = zip(_COLUMNS, cells, strict=True)
            rows[name] = {check: notes.get(cell, cell) for check, cell in found}
    return rows
