"""Score the estimates on a folder of rows of synthesis reports, tool by tool.

``python -m benchmarks.score_estimates [FOLDER]`` prints for each tool and figure the part of rows that are
exact, the median and the 90th percentile of the relative error, the part of reports inside the error bar,
and the part above its upper end. The folder's tables are described in :mod:`benchmarks.report_rows`; the
project's own, in ``tests/data/synthesis``, by default.
"""

# ruff: noqa: T201 - a script that prints its results

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.report_rows import FIGURES, read_rows
from fabricfit.hardware import Estimate
from fabricfit.tables import TextTable

__all__ = ["score"]

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "synthesis"

Pairs = list[tuple[float, Estimate]]


def score(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return the scores of each tool and figure.

    Parameters
    ----------
    folder
        Where the tables of rows are.

    Returns
    -------
    dict
        (tool, figure) -> number of ``rows``, part ``exact``, ``median`` and ``p90`` of the relative error,
        parts ``inside`` the error bar and ``above`` it.
    """
    pairs: dict[tuple[str, str], Pairs] = defaultdict(list)
    for row in read_rows(folder):
        estimates = row.estimates()
        for name in FIGURES:
            bound = "" if row.target.binding == "auto" else f", {row.target.binding}"
            pairs[f"{row.target.tool}{bound}", name].append((row.figures[name], estimates[name]))
    return {key: _score_pairs(found) for key, found in pairs.items()}


def _score_pairs(pairs: Pairs) -> dict[str, float]:
    errors = np.array([abs(e.value - report) / max(report, 1.0) for report, e in pairs])
    return {
        "rows": float(len(pairs)),
        "exact": float(np.mean([round(e.value) == report for report, e in pairs])),
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "inside": float(np.mean([e.low <= report <= e.high for report, e in pairs])),
        "above": float(np.mean([report > e.high for report, e in pairs])),
    }


def main() -> None:
    """Print the scores."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    header = ["tool", "figure", "rows", "exact", "median error", "p90", "inside", "above"]
    body = [
        [
            tool,
            name,
            f"{found['rows']:.0f}",
            *(f"{found[n]:.1%}" for n in ("exact", "median", "p90")),
        ]
        + [f"{found[n]:.1%}" for n in ("inside", "above")]
        for (tool, name), found in score(folder).items()
    ]
    print("\n".join(TextTable(header, body, names=frozenset((0, 1))).lines()))


if __name__ == "__main__":
    main()
