"""Derive the constants of ``fabricfit.hardware.calibration`` again, and print the laws' errors.

Run it from anywhere with ``python benchmarks/calibrate_fabric.py``; it reads the synthesis results
that the tests use. Constants come from the calibration rows alone; the errors are shown for these
and for the check rows.
"""

# ruff: noqa: T201 - a script that prints its results

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path

import numpy as np

from fabricfit.hardware import calibration as known
from fabricfit.hardware import lut_of_constants, product_ff, product_lut
from fabricfit.hardware.calibration import kind
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.tools.vivado_2020_1 import VIVADO_2020_1

DATA = Path(__file__).parents[1] / "tests" / "data" / "synthesis"
CHECK_INPUTS = (96, 224)
CHECK_OUTPUTS = (64,)
WIDTH = 16


@dataclass(frozen=True)
class Row:
    """One run: the product that was built, its non-zero work, and the numbers of the report."""

    product: Product
    work: Work
    lut: float
    ff: float

    @property
    def kind(self) -> str:
        """Name of the band."""
        return kind(self.product)

    @property
    def is_check(self) -> bool:
        """Whether no constant may come from it."""
        if self.product.time_multiplexed:
            return self.product.n_in in CHECK_INPUTS
        return self.product.n_out in CHECK_OUTPUTS

    @property
    def is_cut(self) -> bool:
        """Whether more flip-flops than the inputs need show that registers divide the layer."""
        return self.ff > self.product.n_in * self.product.input_width + 2


def read() -> Iterator[Row]:
    """Yield the runs whose weights are known or do not matter."""
    with (
        np.load(DATA / "vivado_2020_1_dense_kernels.npz") as kernels,
        (DATA / "vivado_2020_1_dense.csv").open() as file,
    ):
        for line in csv.DictReader(file):
            n_in, n_out, bits, reuse = (int(line[c]) for c in ("d_in", "d_out", "prec", "rf"))
            product = Product(n_in, n_out, bits, strategy=line["strategy"], reuse_factor=reuse)
            if line["model_name"] in kernels.files:
                work = Work.of(product, kernels[line["model_name"]])
            elif product.time_multiplexed:
                work = Work.full(product)
            else:
                continue
            yield Row(product, work, float(line["LUT_hls"]), float(line["FF_hls"]))


def solve(rows: list[Row], terms: Callable[[Row], list[float]], target: Callable[[Row], float]):
    """Return least squares of the relative error, one coefficient for each term."""
    values = np.array([target(row) for row in rows])
    matrix = np.array([terms(row) for row in rows], float)
    scale = 1 / np.maximum(values, 1)
    return np.linalg.lstsq(matrix * scale[:, None], values * scale, rcond=None)[0]


def show(name: str, found: float, used: float) -> None:
    """Print a constant as found and as in use."""
    print(f"  {name:24s} {found:10.3f}   in use {used:10.3f}")


def time_multiplexed(rows: list[Row]) -> None:
    """Solve for the constants of time-multiplexed layers."""
    sizes = sorted(known.MUX_LUT_PER_BIT)

    def terms(row: Row) -> list[float]:
        p, m = row.product, row.product.multipliers
        padded = 1 << (p.n_out - 1).bit_length()
        return [
            p.n_out * (2 if m == 1 else 1),
            *(m if padded == size else 0 for size in sizes),
            m if p.weight_width < 6 else 0,
            1,
            ceil(log2(p.n_in * p.input_width)),
        ]

    selected = known.SELECTION_LUT_PER_BIT * WIDTH
    found = solve(rows, terms, lambda row: row.lut - selected * row.product.n_in)
    fixed = WIDTH + known.ADDER_EXTRA + known.OUTPUT_INDEX_LUT + 1
    show("DEMUX_LUT_PER_BIT", found[0] / WIDTH, known.DEMUX_LUT_PER_BIT)
    for size, per_multiplier in zip(sizes, found[1:], strict=False):
        per_bit = (per_multiplier - fixed) / WIDTH
        show(f"MUX_LUT_PER_BIT[{size}]", per_bit, known.MUX_LUT_PER_BIT[size])
    show("WRAPPER_LUT", found[-3], known.WRAPPER_LUT)
    show("SHIFTER_LUT", found[-2] / 2, known.SHIFTER_LUT)
    show("INDEX_LUT_PER_BIT", found[-1], known.INDEX_LUT_PER_BIT)
    wide = [row for row in rows if row.product.weight_width > 6 and row.product.multipliers > 1]
    sums = [row.ff - 16 * (row.product.n_out + row.product.multipliers) for row in wide]
    show("LOOP_FF", float(np.median(sums)), known.LOOP_FF)


def constants(rows: list[Row]) -> None:
    """Solve for the constants of layers whose weights are constants."""
    extras = []
    for row in (row for row in rows if row.kind != "shared"):
        costs, work = lut_of_constants(row.product), row.work
        rest = work.adders * costs.per_adder + work.constants * costs.per_multiplier
        additions = work.nonzeros - row.product.n_out
        extras.append((row.lut - rest) / additions - WIDTH)
    show("TREE_EXTRA", float(np.median(extras)), VIVADO_2020_1.tree_extra)

    def per_bit(row: Row, *counts: int) -> list[float]:
        return [WIDTH * count for count in counts]

    def borders(row: Row) -> float:
        return row.ff - WIDTH * (row.product.n_in + row.product.n_out)

    cut = [row for row in rows if row.kind == "latency" and row.is_cut]
    tree = solve(cut, lambda r: per_bit(r, r.work.nonzeros, r.work.constants), borders)
    show("TREE_FF", tree[0], known.TREE_FF)
    show("TREE_PRODUCT_FF", tree[1], known.TREE_PRODUCT_FF)
    after = [r for r in rows if r.kind == "resource at 1" and r.work.constants]
    products = solve(
        after,
        lambda r: per_bit(r, r.work.constants, r.work.adders),
        lambda r: r.ff - WIDTH * r.product.n_out,
    )
    show("PRODUCT_FF", products[0], known.PRODUCT_FF)
    show("MULTIPLE_FF", products[1], known.MULTIPLE_FF)
    shared = [r for r in rows if r.kind == "shared" and r.work.constants]
    waiting = solve(
        shared,
        lambda r: per_bit(r, r.work.constants, r.work.adders),
        lambda r: r.ff - WIDTH * r.product.n_in,
    )
    show("WAITING_PRODUCT_FF", waiting[0], known.WAITING_PRODUCT_FF)
    show("WAITING_MULTIPLE_FF", waiting[1], known.WAITING_MULTIPLE_FF)


def errors(rows: list[Row], name: str) -> None:
    """Print how far the laws are off for one kind of layer."""
    for resource, law in (("lut", product_lut), ("ff", product_ff)):
        mine = [row for row in rows if row.kind == name]
        for is_check in (False, True):
            chosen = [row for row in mine if row.is_check == is_check]
            estimates = [law(row.product, row.work) for row in chosen]
            true = np.array([getattr(row, resource) for row in chosen])
            value = np.array([estimate.value for estimate in estimates])
            covered = [e.low <= t <= e.high for e, t in zip(estimates, true, strict=True)]
            ratio = true / value
            print(
                f"  {name:17s} {resource:4s} {'check' if is_check else 'calibration':12s}"
                f"{len(chosen):4d} rows, median error {np.median(abs(value / true - 1)):7.2%},"
                f" report / estimate {np.quantile(ratio, 0.05):.2f} … "
                f"{np.quantile(ratio, 0.95):.2f}, in the interval {np.mean(covered):4.0%}"
            )


def main() -> None:
    """Derive and print everything."""
    rows = list(read())
    calibration = [row for row in rows if not row.is_check]
    print("Constants from the calibration rows:")
    time_multiplexed([row for row in calibration if row.product.time_multiplexed])
    constants([row for row in calibration if not row.product.time_multiplexed])
    print("Errors:")
    for name in ("time-multiplexed", "latency", "shared", "resource at 1"):
        errors(rows, name)


if __name__ == "__main__":
    main()
