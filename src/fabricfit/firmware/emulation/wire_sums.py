"""Sums of products with constants, as graphs of adders: what a dense layer or a convolution becomes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fabricfit.errors import require
from fabricfit.firmware.emulation.wires import NotModelledError, Wires, is_constant

__all__ = ["add_products", "multiply_matrix"]


def multiply_matrix(rows: Wires, matrix: np.ndarray) -> Wires:
    """Multiply by whole numbers from the right, without rounding; equal parts of sums are built once.

    Parameters
    ----------
    rows
        Shape ``(rows, n_in)``.
    matrix
        Shape ``(n_in, n_out)``.

    Raises
    ------
    NotModelledError
        A constant has more than 24 bits.
    MissingExtraError
        ``alkaid`` is not installed.
    """
    if (matrix.astype(np.float32) != matrix).any():
        raise NotModelledError("weights of more than 24 bits")
    return Wires.of([_multiply_row(row, matrix) for row in np.asarray(rows)])


def _multiply_row(row: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    known = np.array([is_constant(number) for number in row])
    constants = row[known].astype(np.int64) @ matrix[known]
    used = ~known & matrix.any(axis=1)
    if not used.any():
        return constants.astype(object)
    part, signals = np.ascontiguousarray(matrix[used], np.float32), row[used]
    ranges = tuple((float(v.low), float(v.high), float(v.step)) for v in signals)
    start = min(v.latency for v in signals)
    depths = tuple(float(v.latency - start) for v in signals)
    first, second = _solve(part.tobytes(), part.shape, ranges, depths)
    sums = second(first(signals, quantize=False), quantize=False)
    return np.asarray(Wires.of(sums).each(lambda total: total) + constants)


@lru_cache(maxsize=512)
def _solve(data: bytes, shape: tuple[int, int], ranges: Any, depths: Any) -> Any:
    """Find the adders; a convolution has the same at nearly every position."""
    solver = require("alkaid.cmvm", "adders", "A network as Verilog")
    matrix = np.frombuffer(data, np.float32).reshape(shape).copy()  # the solver writes
    intervals = [solver.QInterval(*bounds) for bounds in ranges]
    return solver.cmvm_solve(matrix, qintervals=intervals, latencies=list(depths))


def add_products(
    rows: Wires,
    matrix: np.ndarray,
    starts: np.ndarray,
    shift: int,
    accumulator: tuple[int, bool, str, str],
    order: Sequence[int],
) -> Wires:
    """Multiply and add in an accumulator: every product is cast to it before it is added, and every sum.

    Parameters
    ----------
    rows, matrix
        As for :func:`multiply_matrix`.
    starts
        What the sums begin with, in units of the accumulator's last bit; shape ``(n_out,)`` or
        ``(rows, n_out)``.
    shift
        Fractional bits of the accumulator less those of a product.
    accumulator
        Its width, whether it is signed, its rounding and its overflow mode.
    order
        Numbers of the inputs in the order in which their products are added.
    """
    begun = np.broadcast_to(starts, (len(rows), matrix.shape[1]))
    sums = []
    for row, start in zip(np.asarray(rows), begun, strict=True):
        cut = _list_rounded(row, matrix, shift)
        if accumulator[3] == "WRAP" or _stays_within(row, matrix, start, shift, cut, accumulator):
            sums.append(_add_at_once(row, matrix, start, shift, cut, accumulator))
        else:
            sums.append(_add_in_order(row, matrix, start, shift, accumulator, order))
    return Wires.of(np.stack([np.asarray(each) for each in sums]))


def _add_at_once(
    row: np.ndarray,
    matrix: np.ndarray,
    start: np.ndarray,
    shift: int,
    cut: np.ndarray,
    accumulator: tuple[int, bool, str, str],
) -> Wires:
    """Add products where only the last sum matters: those that lose no bits share their adders."""
    width, signed, rounding, saturation = accumulator
    exact = multiply_matrix(Wires.of(row[None]), np.where(cut, 0, matrix))
    whole = _align(Wires.of(np.asarray(exact)[0]), shift, "TRN")
    for i in np.flatnonzero(cut.any(axis=1)).tolist():
        one = Wires.of(Wires.of(row[i]) * np.where(cut[i], matrix[i], 0))
        whole = Wires.of(whole + _align(one, shift, rounding))
    return Wires.of(whole + start).fitted(width, signed, saturation)


def _add_in_order(
    row: np.ndarray,
    matrix: np.ndarray,
    start: np.ndarray,
    shift: int,
    accumulator: tuple[int, bool, str, str],
    order: Sequence[int],
) -> Wires:
    """Add products one after the other, as an accumulator that saturates does."""
    width, signed, rounding, saturation = accumulator
    total = Wires.of(start)
    for i in order:
        one = _align(Wires.of(Wires.of(row[i]) * matrix[i]), shift, rounding)
        total = Wires.of(total + one.fitted(width, signed, saturation))
        total = total.fitted(width, signed, saturation)
    return total


def _align(numbers: Wires, shift: int, rounding: str) -> Wires:
    """Return products in units of the accumulator's last bit."""
    return numbers.rounded(-shift, rounding) if shift < 0 else Wires.of(numbers << shift)


def _list_rounded(row: np.ndarray, matrix: np.ndarray, shift: int) -> np.ndarray:
    """Return which products lose bits that may be set when they are cast to the accumulator."""
    if shift >= 0:
        return np.zeros(matrix.shape, bool)
    steps: list[int] = [int(v) & -int(v) if is_constant(v) else int(v.step) for v in row]
    lowest = np.array(steps, object)[:, None] * (matrix & -matrix).astype(object)
    return (lowest % (1 << -shift) != 0).astype(bool)


def _stays_within(
    row: np.ndarray,
    matrix: np.ndarray,
    start: np.ndarray,
    shift: int,
    cut: np.ndarray,
    accumulator: tuple[int, bool, str, str],
) -> bool:
    """Whether no sum can leave an accumulator that saturates, in whatever order it is made."""
    bounds = [(v, v) if is_constant(v) else (v.low, v.high) for v in row]
    low, high = np.array(bounds, np.float64).T
    products = np.stack([low[:, None] * matrix, high[:, None] * matrix]) * 2.0**shift
    unit = cut.sum(axis=0)  # each is rounded by less than a unit
    least = np.minimum(products.min(axis=0), 0).sum(axis=0) - unit
    most = np.maximum(products.max(axis=0), 0).sum(axis=0) + unit
    width, signed = accumulator[:2]
    limit = 2.0 ** (width - int(signed)) - 1
    floor = -limit if signed else 0.0
    return bool(
        (np.minimum(start, 0) + least >= floor).all()
        and (np.maximum(start, 0) + most <= limit).all()
    )
