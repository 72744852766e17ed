"""Fixed-point number formats, as a layer's weights and results have them in hardware."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fabricfit.checks import flag, one_of, whole_number
from fabricfit.description.rounding import ROUNDINGS, SATURATIONS, to_integers
from fabricfit.errors import InvalidInputError, spell, unknown_name

__all__ = [
    "FixedPrecision",
    "Precision",
    "dequantize",
    "fixed_point",
    "parse_precision",
    "quantize",
    "write_precision",
]

_PATTERN = re.compile(
    r"(?:ap_|ac_)?(?P<u>u?)(?P<kind>fixed|int)\s*<\s*(?P<fields>[^<>]*)\s*>", re.IGNORECASE
)


WIDEST = 1024
"""Bits of the widest number format: what AMD's types allow (``AP_INT_MAX_W``)."""

_FARTHEST = 2048
"""How far from its bits the binary point of a format may be: beyond the exponents of doubles."""

_TRUTH = {"true": True, "1": True, "false": False, "0": False}

_DIGITS = re.compile("[+-]?[0-9]{1,9}")


@runtime_checkable
class Precision(Protocol):
    """Any number format with a width in bits; hls4ml's own precision types are such formats."""

    @property
    def width(self) -> int:
        """Total width in bits."""
        ...  # pragma: no cover


@dataclass(frozen=True)
class FixedPrecision:
    """A fixed-point format: ``width`` bits in all, ``integer`` of them before the point.

    Parameters
    ----------
    width
        Total width in bits, at least 1.
    integer
        Bits before the binary point, the sign included; may be negative or exceed ``width``.
    signed
        Whether one of the bits is a sign.
    rounding
        How hardware rounds to it: ``'TRN'``, down, is the default of AMD's and of hls4ml's types.
    overflow
        What numbers out of range become: ``'WRAP'`` is the default of these types.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = field(default="TRN", compare=False)
    overflow: str = field(default="WRAP", compare=False)

    def __post_init__(self) -> None:
        for name, least, most in (("width", 1, WIDEST), ("integer", -_FARTHEST, _FARTHEST)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                object.__setattr__(self, name, whole_number(name, value, least, most=most))
        if type(self.signed) is not bool:
            object.__setattr__(self, "signed", flag("signed", self.signed))
        one_of("rounding", self.rounding, ROUNDINGS)
        one_of("overflow", self.overflow, SATURATIONS)

    @property
    def fractional(self) -> int:
        """Bits after the binary point."""
        return self.width - self.integer

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer}>"


def parse_precision(text: Any) -> Precision:
    """Read a precision as it stands in an hls4ml configuration.

    Parameters
    ----------
    text
        ``'ap_fixed<16,6>'``, ``'fixed<16,6,RND,SAT>'``, ``'ufixed<8,0>'``, ``'ap_uint<4>'``,
        ``'ac_fixed<16,6,true>'``…, or an object with a ``width``, which is returned as it is.

    Raises
    ------
    InvalidInputError
        The text is no precision. ``'auto'`` is none: what it stands for depends on the model.
    """
    if not isinstance(text, str):
        if isinstance(text, FixedPrecision):
            return text
        if not isinstance(text, type) and isinstance(text, Precision):
            whole_number("the width of a precision", text.width, most=WIDEST)
            return text
        raise InvalidInputError(
            f"a precision must be a text like 'fixed<16,6>' or have a width. Received: {spell(text)}"
        )
    match = _PATTERN.fullmatch(text.strip())
    fields = [field.strip() for field in match["fields"].split(",")] if match else []
    try:
        assert match is not None
        width = _read_bits(fields[0])
        whole = match["kind"].lower() == "int"
        integer = width if whole else _read_bits(fields[1])
    except (AssertionError, IndexError, ValueError):
        raise InvalidInputError(
            f"expected a precision like 'fixed<16,6>', 'ap_ufixed<8,0>' or 'int<8>'. "
            f"Received: {spell(text)}"
        ) from None
    signed, modes = not match["u"], fields[1:] if whole else fields[2:]
    if text.lstrip().lower().startswith("ac_"):
        if modes and modes[0].lower() not in _TRUTH:
            raise unknown_name(f"the sign of {spell(text)}", modes[0], _TRUTH)
        signed &= not modes or _TRUTH[modes[0].lower()]
        modes = modes[1:]
    rounding, overflow = _read_modes(text, modes)
    if whole and not modes:
        rounding = "TRN_ZERO"  # integers drop a fraction as C++ does
    try:
        return FixedPrecision(width, integer, signed, rounding, overflow)
    except InvalidInputError as error:
        raise InvalidInputError(f"the precision {spell(text)} cannot be: {error}") from None


def _read_bits(digits: str) -> int:
    """Return a number of bits, in the digits that compilers read."""
    if not _DIGITS.fullmatch(digits):
        raise ValueError
    return int(digits)


def _read_modes(text: str, modes: Sequence[str]) -> tuple[str, str]:
    """Return the modes of rounding and overflow among the last fields of a format, which are checked."""
    if len(modes) > 3 or (len(modes) == 3 and not _DIGITS.fullmatch(modes[2])):
        raise InvalidInputError(
            "a precision may have a rounding mode, a saturation mode and a number of saturation bits "
            f"behind its widths. Received: {spell(text)}"
        )
    checks = (("rounding mode", ROUNDINGS), ("saturation mode", SATURATIONS))
    for mode, (what, known) in zip(modes, checks, strict=False):
        if _plain_mode(mode) not in known:
            raise unknown_name(f"the {what} of {spell(text)}", mode, known)
    rounding, overflow, *_ = [*map(_plain_mode, modes[:2]), *("TRN", "WRAP")[len(modes) :], "WRAP"]
    return rounding, overflow


def _plain_mode(mode: str) -> str:
    return mode.upper().removeprefix("AP_").removeprefix("AC_")


def write_precision(precision: Any) -> str:
    """Return a number format as the text that stands for it in an hls4ml configuration.

    Parameters
    ----------
    precision
        A :class:`FixedPrecision`; one of hls4ml's precision types, of which the text is their own; or any
        object with a ``width`` and ``integer`` bits, and perhaps modes of rounding and saturation.

    Raises
    ------
    InvalidInputError
        It has no integer bits, and its own text is no precision.
    """
    if not isinstance(precision, FixedPrecision):
        text, integer = str(precision), getattr(precision, "integer", None)
        if _PATTERN.fullmatch(text) or getattr(precision, "exponent", None) is not None:
            return text
        if integer is None:
            parse_precision(text)
    modes = [
        getattr(each, "name", each)
        for each in (
            getattr(precision, "rounding_mode", getattr(precision, "rounding", "TRN")),
            getattr(precision, "saturation_mode", getattr(precision, "overflow", "WRAP")),
            getattr(precision, "saturation_bits", 0),
        )
    ]
    plain = ["TRN", "WRAP", 0]
    kept = max((n + 1 for n in range(3) if modes[n] not in (plain[n], None)), default=0)
    fields = [int(precision.width), int(precision.integer), *modes[:kept]]
    sign = "" if getattr(precision, "signed", True) else "u"
    return f"{sign}fixed<{','.join(map(str, fields))}>"


def fixed_point(precision: Precision, what: str = "a precision") -> FixedPrecision:
    """Return a number format as a :class:`FixedPrecision`, whoever's type it is.

    Parameters
    ----------
    precision
        Any format with ``width``, ``integer`` and ``signed``, as hls4ml's fixed-point types have.
    what
        Whose it is, for the message of an error.

    Raises
    ------
    InvalidInputError
        It is no fixed-point format: it has no binary point.
    """
    if isinstance(precision, FixedPrecision):
        return precision
    integer = getattr(precision, "integer", None)
    if integer is None:
        raise InvalidInputError(
            f"{what} must be a fixed-point format, which has a width and integer bits. "
            f"Received: {spell(precision)}"
        )
    match = _PATTERN.fullmatch(str(precision))
    if match and match["kind"] == "int":
        return fixed_point(parse_precision(str(precision)))
    signed = bool(getattr(precision, "signed", True))
    rounding, overflow = (
        str(getattr(getattr(precision, mode, None), "name", default))
        for mode, default in (("rounding_mode", "TRN"), ("saturation_mode", "WRAP"))
    )
    return FixedPrecision(int(precision.width), int(integer), signed, rounding, overflow)


def quantize(values: Any, precision: Precision, *, as_built: bool = False) -> np.ndarray:
    """Return numbers of a fixed-point format, in units of its last bit.

    Parameters
    ----------
    values
        Finite numbers of any shape.
    precision
        The format.
    as_built
        Whether numbers are rounded, and overflow, as hardware does that is given them as they are: by the
        format's modes, which truncate and wrap unless it says otherwise. Else they are rounded half to even,
        and those out of range saturate.

    Returns
    -------
    array of int64, in the shape of ``values``
    """
    form = fixed_point(precision)
    modes = (form.rounding, form.overflow) if as_built else ("RND_CONV", "SAT")
    return to_integers(values, form.width, form.fractional, form.signed, *modes)


def dequantize(integers: Any, precision: Precision) -> np.ndarray:
    """Return the numbers that integers in units of a format's last bit stand for, as float64."""
    return np.ldexp(np.asarray(integers, np.float64), -fixed_point(precision).fractional)
