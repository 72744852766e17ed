"""Rows of synthesis reports, one layer each: the product, its work, its target and the figures."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fabricfit.hardware import (
    Estimate,
    Product,
    Target,
    Work,
    product_interval,
    product_latency,
    product_resources,
)

__all__ = ["FIGURES", "ReportRow", "read_rows"]

FIGURES = ("dsp", "bram18", "lut", "ff", "ii", "latency")

_WORK = ("nonzeros", "constants", "adders", "digits", "small")
_WEIGHTS = ("wide", "hard_digits", "longest", "span")


@dataclass(frozen=True)
class ReportRow:
    """One layer as a report tells of it.

    Parameters
    ----------
    name
        What it is called.
    product, work, target
        What was built, and for and with what.
    figures
        Figure -> what the report says.
    """

    name: str
    product: Product
    work: Work
    target: Target
    figures: Mapping[str, float]

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimate of each figure."""
        laws = (self.product, self.work, self.target)
        timing = {"ii": product_interval(*laws), "latency": product_latency(*laws)}
        return {**product_resources(*laws), **timing}


def read_rows(folder: Path) -> Iterator[ReportRow]:
    """Yield the rows of all tables in a folder.

    Tables are of either of two forms: with the columns of ``published_layers.csv`` (of which those that
    follow from the weights, such as ``longest``, may be missing), or as ``vivado_2020_1_dense.csv``, with
    the kernels of its layers in an archive beside it.
    """
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        if not lines:
            continue
        if "binding" in lines[0]:
            yield from (_read_published(line) for line in lines)
        elif "d_in" in lines[0]:
            yield from _read_dense(lines, path.with_name(f"{path.stem}_kernels.npz"))


def _read_published(line: Mapping[str, str]) -> ReportRow:
    kernel = [int(n) for n in line["kernel_shape"].split("x")]
    convolution = line["kind"] != "dense"
    geometry = {}
    if convolution:
        rows, columns, channels = (int(n) for n in line["in_shape"].split("x"))
        geometry = {
            "positions": (rows - kernel[0] + 1) * (columns - kernel[1] + 1),
            "pixels": rows * columns,
            "channels": channels,
            "kernel_rows": kernel[0],
        }
    product = Product(
        math.prod(kernel[:-1]),
        kernel[-1],
        *(_read_width(line[name]) for name in ("weight", "input", "result", "accum")),
        line["strategy"],
        int(line["rf"]),
        line["io"],
        convolution=convolution,
        packed_input=line["first"] == "1",
        **geometry,
    )
    known = {name: int(line[name]) for name in _WEIGHTS if line.get(name)}
    work = Work(product.multipliers, *(int(line[name]) for name in _WORK), **known)
    target = Target(line["part_family"], float(line["clock_ns"]), line["tool"], line["binding"])
    figures = {name: float(line[name]) for name in FIGURES}
    return ReportRow(line["id"], product, work, target, figures)


def _read_dense(lines: list[dict[str, str]], archive: Path) -> Iterator[ReportRow]:
    kernels = dict(np.load(archive)) if archive.exists() else {}
    columns = ("DSP", "BRAM_18K", "LUT", "FF", "IntervalMax", "WorstLatency")
    for line in lines:
        sizes = (int(line[name]) for name in ("d_in", "d_out", "prec"))
        product = Product(*sizes, strategy=line["strategy"], reuse_factor=int(line["rf"]))
        kernel = kernels.get(line["model_name"])
        if kernel is None and not product.time_multiplexed:
            continue  # what is built depends on weights that are not known
        work = Work.full(product) if kernel is None else Work.of(product, kernel)
        figures = {
            name: float(line[f"{column}_hls"])
            for name, column in zip(FIGURES, columns, strict=True)
        }
        yield ReportRow(line["model_name"], product, work, Target(), figures)


def _read_width(text: str) -> int:
    found = re.match(r"u?fixed<(\d+)", text)
    if found is None:
        raise ValueError(f"a number format like 'fixed<16,6>' is expected. Received: {text!r}")
    return int(found[1])
