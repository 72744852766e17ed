"""A number that is not known exactly, with the range it is believed to lie in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from fabricfit.checks import number, text
from fabricfit.errors import InvalidInputError

__all__ = ["NOTE_BREAK", "Estimate", "joined_notes", "total"]

NOTE_BREAK = "; "
"""Between several remarks in one note."""

_LARGEST = 2**63


@dataclass(frozen=True)
class Estimate:
    """A count with its error bar.

    Parameters
    ----------
    value
        The most likely value.
    low, high
        Nine of ten synthesis results were seen to lie between these, ends included.
    note
        Why it may be less certain than that: what of the layer lies outside the measurements. Empty
        inside them.

    Raises
    ------
    InvalidInputError
        The value does not lie between its ends.
    """

    value: float
    low: float
    high: float
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            given = getattr(self, name)
            if type(given) is not float and not (type(given) is int and abs(given) < _LARGEST):
                number(name, given, infinite=True)
        if type(self.note) is not str:
            text("note", self.note, empty=True)
        if not self.low <= self.value <= self.high:
            raise InvalidInputError(
                "an estimate must lie between its ends. "
                f"Received: {self.low} <= {self.value} <= {self.high}"
            )

    @classmethod
    def exact(cls, value: float, note: str = "") -> Estimate:
        """Return an estimate without an error bar."""
        return cls(value, value, value, note)

    @property
    def extrapolated(self) -> bool:
        """Whether it lies outside the measurements."""
        return bool(self.note)

    def times(self, factor: float) -> Estimate:
        """Return so many of the same, a factor of at least 0."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.note)

    def counted(self, margin: float) -> float:
        """Return the most likely value and so much of the error bar above it; a margin from 0 to 1."""
        return self.value + margin * (self.high - self.value)

    def __str__(self) -> str:
        middle = f"{self.value:,.0f}"
        if self.low == self.high:
            return middle
        return f"{middle} ({self.low:,.0f} … {self.high:,.0f})"


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Add estimates. Their errors are assumed to have one cause, so their ranges add up too."""
    parts = list(estimates)
    return Estimate(
        sum([part.value for part in parts]),
        sum([part.low for part in parts]),
        sum([part.high for part in parts]),
        joined_notes([part.note for part in parts]),
    )


def joined_notes(notes: Iterable[str]) -> str:
    """Return several notes as one, each remark in them once."""
    said = dict.fromkeys(note for note in notes if note)
    return _join(tuple(said)) if said else ""


@lru_cache(maxsize=1024)
def _join(notes: tuple[str, ...]) -> str:
    """Return notes as one; the same few are joined again and again."""
    return NOTE_BREAK.join(
        dict.fromkeys(part for note in notes for part in note.split(NOTE_BREAK) if part)
    )
