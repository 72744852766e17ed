"""Fixed-point numbers as HLS tools compute with them, held as 64-bit integers.

A value is an integer in units of its format's last bit. Rounding and overflow follow the AMD types
``ap_fixed`` and ``ap_int`` (UG1399, "Arbitrary Precision Fixed-Point Data Types"); the tests compare
every mode with those types' own C++ headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.description.rounding import (
    MAX_BITS,
    ROUNDINGS,
    SATURATIONS,
    find_limits,
    fit_in_bits,
    round_up,
    to_integers,
)
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation.wires import NotModelledError, Wires

__all__ = [
    "MAX_BITS",
    "FixedTensor",
    "Format",
    "NotModelledError",
    "add",
    "cast",
    "cast_each",
    "multiply",
    "shift_right",
]


@dataclass(frozen=True)
class Format:
    """A fixed-point format: ``width`` bits, ``integer`` of them before the point.

    Parameters
    ----------
    width, integer, signed
        As in ``ap_fixed<width, integer>``; ``integer`` may be negative or exceed ``width``.
    rounding
        One of ``TRN`` (down), ``TRN_ZERO``, ``RND`` (to nearest, ties up), ``RND_ZERO``,
        ``RND_INF``, ``RND_MIN_INF`` and ``RND_CONV`` (ties to zero, away from it, down, to even).
    saturation
        ``WRAP`` (drop the upper bits), ``SAT``, ``SAT_ZERO`` or ``SAT_SYM``.

    Raises
    ------
    InvalidInputError
        The format has no bits or more than 62.
    NotModelledError
        The name of a mode is none of these.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "TRN"
    saturation: str = "WRAP"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_BITS:
            raise InvalidInputError(
                f"numbers of 1 to {MAX_BITS} bits can be emulated exactly. Received: {self.width} "
                "bits. State narrower 'result' and 'accum' precisions in the hls4ml configuration."
            )
        if self.rounding not in ROUNDINGS or self.saturation not in SATURATIONS:
            raise NotModelledError(
                f"the modes {self.rounding}, {self.saturation} of a number format"
            )

    @classmethod
    def of(cls, precision: Any) -> Format:
        """Read one of hls4ml's precision types.

        Raises
        ------
        NotModelledError
            It is neither a fixed-point nor an integer type, or wraps with saturated bits.
        """
        kind = next((c.__name__ for c in type(precision).__mro__ if c.__name__ in _KINDS), None)
        if kind is None:
            raise NotModelledError(f"the number format {precision}")
        if kind == "IntegerPrecisionType":  # an ap_int drops a fraction as C++ does
            return cls(precision.width, precision.width, precision.signed, "TRN_ZERO")
        if precision.saturation_bits:
            raise NotModelledError(f"the saturated bits of {precision}")
        modes = precision.rounding_mode.name, precision.saturation_mode.name
        return cls(precision.width, precision.integer, precision.signed, *modes)

    @property
    def fractional(self) -> int:
        """Bits after the point: a value is an integer times ``2 ** -fractional``."""
        return self.width - self.integer

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value, in units of the last bit."""
        return find_limits(self.width, self.signed, self.saturation)

    def __str__(self) -> str:
        modes = f"{self.rounding},{self.saturation}"
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer},{modes}>"


_KINDS = ("FixedPrecisionType", "IntegerPrecisionType")


@dataclass(frozen=True)
class FixedTensor:
    """Numbers of one format: ``values`` are int64 in units of the format's last bit.

    They may be signals of a circuit instead (:class:`~fabricfit.firmware.emulation.wires.Wires`), of one
    sample: what computes a layer then builds it.
    """

    values: np.ndarray
    format: Format

    @classmethod
    def from_float(cls, numbers: Any, format: Format) -> FixedTensor:
        """Convert real numbers as the constructor of ``ap_fixed`` from a double does.

        Infinity counts as a number beyond every format.
        """
        modes = format.rounding, format.saturation
        return cls(
            to_integers(numbers, format.width, format.fractional, format.signed, *modes), format
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    def to_float(self) -> np.ndarray:
        """Return the numbers as float64: exact up to 53 bits, rounded to nearest even above."""
        return np.ldexp(self.values.astype(np.float64), -self.format.fractional)

    def reshaped(self, *shape: int) -> FixedTensor:
        """Return the same numbers in another shape."""
        return FixedTensor(self.values.reshape(shape), self.format)


def cast(tensor: FixedTensor, to: Format) -> FixedTensor:
    """Convert numbers to another format, with its rounding first and then its overflow mode."""
    drop = tensor.format.fractional - to.fractional
    values = tensor.values
    if drop > 0:
        values = shift_right(values, min(drop, 63), to.rounding)
    elif drop < 0:
        if to.saturation != "WRAP" and tensor.format.width - drop > MAX_BITS + 1:
            raise InvalidInputError(
                f"converting {tensor.format} to {to} needs more than {MAX_BITS} bits, which cannot "
                "be emulated. State narrower precisions in the hls4ml configuration."
            )
        values = values << -drop if drop > -64 else np.zeros_like(values)
    return FixedTensor(_fit(values, to), to)


def cast_each(
    tensor: FixedTensor, formats: np.ndarray, modes: tuple[str, str], to: Format
) -> FixedTensor:
    """Convert each number of a sample to a format of its own, and all of them to one that holds them.

    Parameters
    ----------
    tensor
        Numbers, samples first.
    formats
        Whether it is signed, its width and its integer bits, for each number of a sample: shape ``(n, 3)``.
        One of no bits holds nothing but zero.
    modes
        Rounding and overflow mode of each.
    to
        The format of all.
    """
    flat = tensor.values.reshape(len(tensor.values), -1)
    values = np.zeros_like(flat)
    for sign, width, integer in np.unique(formats, axis=0).tolist():
        if width > 0:
            own = (formats == (sign, width, integer)).all(axis=1)
            form = Format(width, integer, bool(sign), *modes)
            values[:, own] = cast(cast(FixedTensor(flat[:, own], tensor.format), form), to).values
    return FixedTensor(values.reshape(tensor.shape), to)


def multiply(a: FixedTensor, b: FixedTensor) -> FixedTensor:
    """Multiply at full precision: widths and integer bits add up."""
    return FixedTensor(a.values * b.values, product_format(a.format, b.format))


def product_format(a: Format, b: Format) -> Format:
    """Return the format of an exact product."""
    return Format(a.width + b.width, a.integer + b.integer, a.signed or b.signed)


def add(a: FixedTensor, b: FixedTensor, sign: int = 1) -> FixedTensor:
    """Add (or, with a ``sign`` of -1, subtract) at full precision."""
    signed = a.format.signed or b.format.signed or sign < 0
    integer = 1 + max(f.integer + (signed and not f.signed) for f in (a.format, b.format))
    fractional = max(a.format.fractional, b.format.fractional)
    wide = Format(integer + fractional, integer, signed)
    return FixedTensor(_align(a, fractional) + sign * _align(b, fractional), wide)


def _align(tensor: FixedTensor, fractional: int) -> np.ndarray:
    return tensor.values << (fractional - tensor.format.fractional)


def shift_right(values: np.ndarray, drop: int, rounding: str) -> np.ndarray:
    """Return whole numbers without their last bits, of which there is at least one, rounded."""
    if isinstance(values, Wires):
        return values.rounded(drop, rounding)
    floor = values >> drop
    if rounding == "TRN":
        return floor
    half = (values >> (drop - 1)) & 1 != 0
    more = values & ((1 << (drop - 1)) - 1) != 0
    return floor + round_up(rounding, half, more, values < 0, floor & 1 != 0)


def _fit(values: np.ndarray, to: Format) -> np.ndarray:
    if isinstance(values, Wires):
        return values.fitted(to.width, to.signed, to.saturation)
    return fit_in_bits(values, to.width, to.signed, to.saturation)
