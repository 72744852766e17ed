"""A number that is not known exactly, with the range it is believed to lie in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fabricfit.errors import InvalidInputError

__all__ = ["RESOURCES", "Estimate", "Resources", "joined_notes", "total"]

_BREAK = "; "

RESOURCES = ("dsp", "bram18", "uram", "lut", "ff")
"""What a device has, in the order in which tables show it. A RAMB36 counts as two of BRAM18."""


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

    def __str__(self) -> str:
        middle = f"{self.value:,.0f}"
        if self.low == self.high:
            return middle
        return f"{middle} ({self.low:,.0f} … {self.high:,.0f})"


class Resources(Mapping[str, Estimate]):
    """Estimates by the name of the resource, in the order of :data:`RESOURCES`.

    A resource that was not named takes nothing.

    Parameters
    ----------
    estimates
        Name -> estimate, or a number for one that is exact.

    Raises
    ------
    InvalidInputError
        A name is none of :data:`RESOURCES`.

    Examples
    --------
    >>> used = Resources(dsp=4, lut=Estimate(100, 80, 130))
    >>> (used + used)["lut"]
    Estimate(value=200, low=160, high=260, note='')
    >>> used["ff"].value
    0
    """

    def __init__(self, **estimates: Estimate | float) -> None:
        for name in estimates:
            if name not in RESOURCES:
                raise InvalidInputError(
                    f"a resource must be one of {', '.join(map(repr, RESOURCES))}. "
                    f"Received: {name!r}"
                )
        self._estimates = {name: _as_estimate(estimates.get(name, 0)) for name in RESOURCES}

    def __getitem__(self, name: str) -> Estimate:
        return self._estimates[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._estimates)

    def __len__(self) -> int:
        return len(self._estimates)

    def __add__(self, other: Resources) -> Resources:
        return Resources(**{name: total((self[name], other[name])) for name in self})

    def times(self, factor: float) -> Resources:
        """Return what so many of the same take."""
        return Resources(**{name: each.times(factor) for name, each in self.items()})

    @property
    def values_only(self) -> dict[str, float]:
        """The most likely values, by name."""
        return {name: each.value for name, each in self.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What lies outside the measurements, each said once: a line for what begins alike."""
        said: dict[str, list[str]] = {}
        for part in joined_notes(each.note for each in self.values()).split(_BREAK):
            start, colon, rest = part.partition(": ")
            said.setdefault(start, []).extend([rest] if colon else [])
        return tuple(
            f"{start}: {', '.join(rest)}" if rest else start
            for start, rest in said.items()
            if start
        )

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={each}" for name, each in self.items() if each.high)
        return f"Resources({inside})"


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Add estimates. Their errors are taken to have one cause, so their ranges add up too."""
    parts = list(estimates)
    note = joined_notes(part.note for part in parts)
    return Estimate(
        sum(part.value for part in parts),
        sum(part.low for part in parts),
        sum(part.high for part in parts),
        note,
    )


def joined_notes(notes: Iterable[str]) -> str:
    """Return several notes as one, each remark in them once."""
    return _BREAK.join(dict.fromkeys(part for note in notes for part in note.split(_BREAK) if part))


def _as_estimate(value: Estimate | float) -> Estimate:
    return value if isinstance(value, Estimate) else Estimate.exact(value)
