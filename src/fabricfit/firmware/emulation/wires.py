"""Numbers of a circuit in the place of integers, so that what emulates a layer also writes it.

An array of :class:`Wires` holds whole numbers that are not known yet: each is a signal of a circuit with
its own range, which the package ``alkaid`` keeps, and every operation adds logic to it. Bits that cannot
change are dropped, and what is constant stays a plain integer. An operation that no circuit is known for is
refused, never computed wrongly: only what is listed here works on these arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fabricfit.errors import require

__all__ = ["NotModelledError", "Wires", "is_constant"]

_MAX_CONSTANT_BITS = 30
"""Bits of a constant that is added: alkaid keeps it as an integer of 32 bits."""

_MAX_FACTOR_BITS = 24
"""Bits of a constant factor: alkaid's solver computes with single precision."""

_MAX_VALUES, _MAX_TABLE = 1 << 20, 1 << 14
"""Values of a number that a function of it is computed for, and entries of a table."""


class NotModelledError(Exception):
    """A layer or number format that the emulation does not compute; the message says which."""


class Wires(np.ndarray):
    """Whole numbers of a circuit: alkaid's variables, and Python's integers where they are constant."""

    @classmethod
    def of(cls, numbers: Any) -> Wires:
        """Return numbers of a circuit, given an array of variables and integers."""
        return np.asarray(numbers, object).view(cls)

    @classmethod
    def inputs(cls, shape: tuple[int, ...], low: int, high: int) -> Wires:
        """Return new variables that take all values from ``low`` to ``high``.

        Raises
        ------
        MissingExtraError
            ``alkaid`` is not installed.
        """
        trace = require("alkaid.trace", "adders", "A network as Verilog")
        bounds = (np.full(shape, float(low)), np.full(shape, float(high)), np.ones(shape))
        return cls.of(trace.FVArray.from_lhs(*bounds))

    def each(self, function: Callable[..., Any], *others: Any) -> Wires:
        """Apply a function of single numbers to these and to others of the same or a smaller shape."""
        arrays = [np.asarray(each).astype(object) for each in (self, *others)]
        made = np.frompyfunc(lambda *given: _fold(function(*given)), len(arrays), 1)(*arrays)
        return Wires.of(made)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply NumPy's function of numbers, where a circuit of it is known."""
        function = _OPERATIONS.get(ufunc)
        if function is None or method not in ("__call__", "reduce"):
            raise NotModelledError(f"numpy.{ufunc.__name__} of signals of a circuit")
        if method == "__call__":
            return Wires.of(inputs[0]).each(function, *inputs[1:])
        parts = [Wires.of(part) for part in np.moveaxis(np.asarray(self), options["axis"], 0)]
        while len(parts) > 1:
            pairs = [a.each(function, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[2 * len(pairs) :]
        return np.expand_dims(parts[0], options["axis"]) if options.get("keepdims") else parts[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Apply NumPy's function of arrays: one that moves numbers, or a choice between them."""
        if func is np.where:
            return Wires.of(args[0]).each(_choose, *args[1:])
        if func is np.clip:
            return np.minimum(np.maximum(args[0], args[1]), args[2])
        if func not in _MOVES:
            raise NotModelledError(f"numpy.{func.__name__} of signals of a circuit")
        return Wires.of(func(*_plain(args), **_plain(kwargs)))

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise NotModelledError("values of signals of a circuit, which are known only when it runs")

    # Methods of arrays that would compare or convert the variables themselves.
    argmax = argmin = argsort = sort = nonzero = astype = searchsorted = item = tolist = _refuse
    choose = partition = argpartition = dot = __bool__ = __float__ = __int__ = _refuse

    def rounded(self, drop: int, rounding: str) -> Wires:
        """Return the numbers without their last ``drop`` bits, in one of the modes of ``ap_fixed``."""
        return self.each(lambda number: _round(number, int(drop), rounding))

    def fitted(self, width: int, signed: bool, saturation: str) -> Wires:
        """Return the numbers in so many bits, with one of the overflow modes of ``ap_fixed``."""
        return self.each(lambda number: _fit(number, int(width), bool(signed), saturation))

    def divided(self, counts: Any) -> Wires:
        """Return the quotients by whole numbers, truncated towards zero."""
        return self.each(_divide, counts)

    def looked_up(self, function: Callable[[np.ndarray], np.ndarray]) -> Wires:
        """Return a function of the numbers, read from a table of all values that each can have."""
        return self.each(lambda number: _look_up(number, function))


def _plain(given: Any) -> Any:
    """Return arguments with plain arrays of objects in the place of arrays of signals."""
    if isinstance(given, Wires):
        return np.asarray(given)
    if isinstance(given, (list, tuple)):
        return type(given)(_plain(each) for each in given)
    return {key: _plain(each) for key, each in given.items()} if isinstance(given, dict) else given


def is_constant(number: Any) -> bool:
    """Whether a number of a circuit is known."""
    return isinstance(number, (int, np.integer))


def _fold(number: Any) -> Any:
    """Return a constant as a Python integer."""
    if isinstance(number, (int, float, np.number)):
        return int(number)
    if number.low != number.high:
        return number
    return int(number.low)


def _add(a: Any, b: Any) -> Any:
    for number in (a, b):
        if is_constant(number) and not is_constant(a + b):
            _check_bits(number, _MAX_CONSTANT_BITS, "a constant that is added")
    return a + b


def _subtract(a: Any, b: Any) -> Any:
    return _add(a, -b)


def _multiply(a: Any, b: Any) -> Any:
    if is_constant(a):
        a, b = b, a
    if is_constant(b) and not is_constant(a):
        if b == 0:
            return 0
        _check_bits(b // (b & -b), _MAX_FACTOR_BITS, "a constant factor")
        return a * float(b)
    return a * b


def _check_bits(number: int, most: int, what: str) -> None:
    if abs(number).bit_length() > most:
        raise NotModelledError(f"{what} of {abs(number).bit_length()} bits, more than {most}")


def _shift_left(number: Any, by: int) -> Any:
    return number * (1 << by) if is_constant(number) else number * 2.0**by


def _shift_right(number: Any, by: int) -> Any:
    """Return a number without its last bits, rounded down."""
    if is_constant(number):
        return number >> by
    if by == 0:
        return number
    signed, integer, _ = (int(part) for part in number.kif)
    return number.quantize(signed, max(integer, by), -by) * 2.0**-by


def _round(number: Any, drop: int, rounding: str) -> Any:
    """Round as ``ap_fixed`` does: always down, of the number plus something less than the last bit kept."""
    if not is_constant(number) and number.step >= 2.0**drop:
        return number * 2.0**-drop
    half, negative = 1 << (drop - 1), _is_less(number, 0)
    match rounding:
        case "TRN":
            offset: Any = 0
        case "TRN_ZERO":
            offset = _multiply(negative, (1 << drop) - 1)
        case "RND":
            offset = half
        case "RND_ZERO":
            offset = _add(negative, half - 1)
        case "RND_MIN_INF":
            offset = half - 1
        case "RND_INF":
            offset = _subtract(half, negative)
        case _:  # RND_CONV: one more where the last bit kept is odd
            offset = _add(_wrap(_shift_right(number, drop), 1, False), half - 1)
    return _shift_right(_add(number, offset), drop)


def _wrap(number: Any, width: int, signed: bool) -> Any:
    if is_constant(number):
        bits = number & ((1 << width) - 1)
        return bits - (1 << width) if signed and bits >> (width - 1) else bits
    return number.quantize(signed, width - signed, 0)


def _fit(number: Any, width: int, signed: bool, saturation: str) -> Any:
    if saturation == "WRAP":
        return _wrap(number, width, signed)
    top = width - signed
    high = (1 << top) - 1
    low = -high - (saturation != "SAT_SYM") if signed else 0
    if is_constant(number):
        outside = 0 if saturation == "SAT_ZERO" else min(max(number, low), high)
        return number if low <= number <= high else outside
    # Only the bits above the format are compared.
    if saturation == "SAT_ZERO":
        above = _shift_right(number, top)
        inside = _choose(_is_less(0, above), 0, number)
        return _wrap(_choose(_is_less(above, -1 if signed else 0), 0, inside), width, signed)
    if number.high > high:
        above = _is_less(0, _shift_right(number, top))
        number = _fold(_mux(above, high, number, (number.low, high, 1.0)))
    if not is_constant(number) and number.low < low:
        if low == 0 or saturation == "SAT_SYM":
            return _larger(number, low)
        below = _is_less(_shift_right(number, top), -1)
        number = _mux(below, low, number, (low, number.high, 1.0))
    return number


def _mux(condition: Any, then: Any, otherwise: Any, bounds: Any) -> Any:
    """Choose between two numbers where the range of the result is known."""
    if is_constant(condition):
        return then if condition else otherwise
    then, otherwise = (float(n) if is_constant(n) else n for n in (then, otherwise))
    return condition.msb_mux(then, otherwise, tuple(float(bound) for bound in bounds))


def _choose(condition: Any, then: Any, otherwise: Any) -> Any:
    if is_constant(condition):
        return then if condition else otherwise
    if is_constant(then) and is_constant(otherwise):
        return _add(_multiply(condition, then - otherwise), otherwise)
    return condition.msb_mux(then, otherwise)


def _is_less(a: Any, b: Any) -> Any:
    """Return 1 where a number is less than another, else 0."""
    (least, most), (low, high) = _ends(a), _ends(b)
    if most < low or least >= high:
        return int(most < low)
    return _is_negative(_fold(_subtract(a, b)))


def _ends(number: Any) -> tuple[Any, Any]:
    """Return the least and the greatest value that a number can have."""
    return (number, number) if is_constant(number) else (number.low, number.high)


def _is_negative(number: Any) -> Any:
    """Return a number's sign; alkaid 0.8 takes the wrong one of the negative of a number cut from another."""
    if is_constant(number) or number.low >= 0 or number.high < 0:
        return int(number.low < 0) if not is_constant(number) else int(number < 0)
    if number._factor < 0:  # it is negative where the opposite, less its last bit, is not
        return _not(_is_negative(_fold(-number - number.step)))
    if number.opr == "wrap":
        number = number * 2.0 + number.step  # of the same sign
    return _fold(number.is_negative())


def _not(truth: Any) -> Any:
    return 1 - truth if is_constant(truth) else _fold(~truth)


def _larger(a: Any, b: Any) -> Any:
    if is_constant(a) and is_constant(b):
        return max(a, b)
    if is_constant(a):
        a, b = b, a
    if is_constant(b) and b == 0:
        return a.relu()
    return _pick(a, b, _is_less(a, b), max)


def _smaller(a: Any, b: Any) -> Any:
    if is_constant(a) and is_constant(b):
        return min(a, b)
    return _pick(b, a, _is_less(a, b), min)


def _pick(a: Any, b: Any, truth: Any, of: Callable[..., float]) -> Any:
    """Return the second number where something is true, else the first; the greater or the smaller one."""
    lows, highs = zip(_ends(a), _ends(b), strict=True)
    return _mux(truth, b, a, (of(lows), of(highs), 1.0))


def _differ(a: Any, b: Any) -> Any:
    """Whether numbers differ, as far as that is known beforehand."""
    if is_constant(a) and is_constant(b):
        return int(a != b)
    number, constant = (b, a) if is_constant(a) else (a, b)
    if is_constant(constant) and not number.low <= constant <= number.high:
        return 1
    raise NotModelledError("a comparison of signals of a circuit for equality")


def _divide(number: Any, count: int) -> Any:
    """Divide by a whole number: multiply by its reciprocal, with as many bits as every quotient needs."""
    if is_constant(number):
        return abs(number) // count * (1 if number >= 0 else -1)
    if count & (count - 1) == 0:
        drop = int(count).bit_length() - 1
        return _round(number, drop, "TRN_ZERO") if drop else number
    size = int(max(number.high, -number.low)).bit_length()
    shift = size + int(count - 1).bit_length()
    negative = _is_less(number, 0)
    magnitude = _choose(negative, -number, number) if number.low < 0 else number
    quotient = _fold(_shift_right(_multiply(magnitude, -(-(1 << shift) // count)), shift))
    return _choose(negative, -quotient, quotient)


def _look_up(number: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Read a function from a table, of the range and with the bits that make a difference."""
    if is_constant(number):
        return int(function(np.array([number]))[0])
    low, high, step = (int(part) for part in number.qint)
    if (high - low) // step >= _MAX_VALUES:
        raise NotModelledError(f"a table of {(high - low) // step + 1:,} entries")
    values = np.arange(low, high + step, step)
    found = function(values)
    changes = np.flatnonzero(np.diff(found))
    if not changes.size:
        return int(found[0])
    first, last = int(values[changes[0]]), int(values[changes[-1] + 1])
    number = _smaller(_larger(number, first), last)
    drop = max(abs(low), abs(high)).bit_length()
    while (np.diff(np.sign(values) * (np.abs(values) >> drop))[changes] == 0).any():
        drop -= 1
    if drop:
        number = _round(number, drop, "TRN_ZERO")
    low, high, step = (int(part) for part in number.qint)
    if (high - low) // step >= _MAX_TABLE:
        raise NotModelledError(f"a table of {(high - low) // step + 1:,} entries")
    return number.lookup(function(np.arange(low, high + step, step) << drop).astype(np.float64))


_OPERATIONS: dict[Any, Callable[..., Any]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.negative: operator.neg,
    np.multiply: _multiply,
    np.left_shift: _shift_left,
    np.right_shift: _shift_right,
    np.maximum: _larger,
    np.minimum: _smaller,
    np.less: _is_less,
    np.greater: lambda a, b: _is_less(b, a),
    np.less_equal: lambda a, b: _not(_is_less(b, a)),
    np.greater_equal: lambda a, b: _not(_is_less(a, b)),
    np.invert: _not,
    np.not_equal: _differ,
}
"""NumPy's functions of numbers -> the same of single numbers of a circuit; truths are 0 and 1."""

_MOVES = {
    np.broadcast_arrays,
    np.broadcast_to,
    np.concatenate,
    np.expand_dims,
    np.lib.stride_tricks.sliding_window_view,
    np.moveaxis,
    np.pad,
    np.repeat,
    np.reshape,
    np.stack,
    np.take,
    np.tile,
    np.transpose,
    np.zeros_like,
}
"""NumPy's functions that only move numbers, or make zeros."""
