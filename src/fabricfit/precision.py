"""Fixed-point number formats, as a layer's weights and results have them in hardware."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fabricfit.errors import InvalidInputError

__all__ = ["FixedPrecision", "Precision", "parse_precision"]

_PATTERN = re.compile(
    r"(?:ap_|ac_)?(?P<u>u?)(?P<kind>fixed|int)\s*<\s*(?P<fields>[^<>]*)\s*>", re.IGNORECASE
)


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
    """

    width: int
    integer: int
    signed: bool = True

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InvalidInputError(f"width must be at least 1 bit. Received: width={self.width}")

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
        if isinstance(text, Precision):
            return text
        raise InvalidInputError(
            f"a precision must be a text like 'fixed<16,6>' or have a width. Received: {text!r}"
        )
    match = _PATTERN.fullmatch(text.strip())
    fields = [field.strip() for field in match["fields"].split(",")] if match else []
    try:
        assert match is not None
        width = int(fields[0])
        integer = width if match["kind"].lower() == "int" else int(fields[1])
    except (AssertionError, IndexError, ValueError):
        raise InvalidInputError(
            f"expected a precision like 'fixed<16,6>', 'ap_ufixed<8,0>' or 'int<8>'. "
            f"Received: {text!r}"
        ) from None
    signed = not match["u"]
    if text.lstrip().lower().startswith("ac_") and "false" in (f.lower() for f in fields[1:]):
        signed = False
    return FixedPrecision(width, integer, signed)
