"""``python -m benchmarks``: measure fabricfit and its rivals, and print the ratios."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.traceback import Traceback

from benchmarks import machine
from benchmarks.harness import BUSY, Bench
from benchmarks.tables import Headline, Report, new_table, ratio

__all__ = ["main"]

PARTS = (
    "end_to_end",
    "tuning",
    "epochs",
    "knapsack",
    "masks",
    "growth",
    "large",
    "frontier",
    "image_frontier",
    "designs",
    "structured",
)
BACKENDS = ("tensorflow", "jax", "torch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the process's exit code."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    console = Console(width=options.width)
    found = machine.describe()
    headlines: list[Headline] = []
    broken: list[str] = []
    failures: list[str] = []
    with ExitStack() as stack:
        directory = options.directory or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="fabricfit-benchmarks-")
        )
        Path(directory).mkdir(parents=True, exist_ok=True)
        bench = Bench(
            Path(directory).resolve(),
            options.backends,
            quick=options.quick,
            repeats=options.repeats,
            seeds=options.seeds,
            tuner=options.tuner,
            all_epochs=options.all_epochs,
            patience=options.patience,
            log=Console(stderr=True, width=options.width),
        )
        for part in options.parts or PARTS:
            console.rule(part)
            try:
                report: Report = importlib.import_module(f"benchmarks.{part}").run(bench)
            except Exception:
                broken.append(part)
                console.print(Traceback())
                continue
            for table in report.tables:
                console.print(table)
                console.print()
            headlines += report.headlines
            failures += report.failures
        records = [record for contest in bench.contests for record in contest.records()]
    console.rule("summary")
    console.print(_build_summary(headlines))
    console.print(_describe_machine(found))
    if options.json:
        data = {"machine": found, "headlines": _to_plain(headlines), "measurements": records}
        Path(options.json).write_text(json.dumps(data, indent=1))
    busy = sum(record["others"] > BUSY for record in records)
    if busy:
        console.print(
            f"{busy} of {len(records)} measurements were taken while other processes used more than "
            f"{BUSY:g} cores."
        )
    failed = {(r["part"], r["workload"], r["contestant"]) for r in records if r["error"]}
    if failed or broken:
        console.print(f"{len(failed)} contestants without a number; parts that broke: {broken}")
    for failure in failures:
        console.print(failure, style="red")
    return 1 if broken or failures else 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, nothing repeated")
    parser.add_argument("--repeats", type=int, help="how often each pair is measured")
    parser.add_argument("--seeds", type=int, help="how many seeds whole runs are measured for")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--tuner", default="halving", help="search of fabricfit")
    parser.add_argument(
        "--all-epochs",
        action="store_true",
        help="whole runs of fabricfit train every level to its last epoch",
    )
    parser.add_argument("--json", metavar="FILE", help="write all measurements here")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait before each measurement for other processes to be done",
    )
    parser.add_argument("--directory", help="keep models and logs here")
    parser.add_argument("--width", type=int, default=150, help="characters of a line")
    return parser


def _build_summary(headlines: Sequence[Headline]) -> object:
    columns = ["part", "workload", "what", "ratio"]
    table = new_table("Headline ratios: median (least..largest)", columns, texts=3)
    for headline in headlines:
        table.add_row(headline.part, headline.workload, headline.what, ratio(headline.value))
    return table


def _describe_machine(found: dict[str, str]) -> object:
    table = new_table("Measured on", ["", ""], texts=2)
    for name, value in found.items():
        table.add_row(name, value)
    return table


def _to_plain(headlines: Sequence[Headline]) -> list[dict[str, object]]:
    return [
        {
            "part": each.part,
            "workload": each.workload,
            "what": each.what,
            "ratio": None if each.value is None else vars(each.value),
        }
        for each in headlines
    ]


if __name__ == "__main__":
    sys.exit(main())
