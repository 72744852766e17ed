"""What a design may take: so many DSPs, so much memory, a board, or a part of what it takes now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fabricfit.errors import InvalidInputError
from fabricfit.hardware.devices import Device, find_device
from fabricfit.hardware.estimates import RESOURCES
from fabricfit.hardware.families import DEFAULT_FAMILY

__all__ = ["Budget"]


@dataclass(frozen=True, init=False)
class Budget:
    """Limits of resources; those that are not named are not limited.

    Parameters
    ----------
    dsp, uram, lut, ff
        How many there are.
    bram18, bram36
        How many block RAMs there are, in units of 18 or of 36 kbit; give one of the two.
    family
        Whose DSP blocks and memories they are, a name of :func:`fabricfit.hardware.families`.

    Raises
    ------
    InvalidInputError
        No limit is given, one is negative or not finite, or both block RAMs are given.

    Examples
    --------
    >>> Budget(dsp=220, bram36=140)
    Budget(dsp=220, bram18=280)
    >>> Budget.device("pynq-z2", fraction=0.8).limits({})["dsp"]
    176.0
    >>> Budget.relative(dsp=0.5).limits({"dsp": 1064})
    {'dsp': 532.0}
    """

    amounts: Mapping[str, float]
    """Resource -> limit: how many, or the part of what the model takes if :attr:`is_relative`."""

    family: str = DEFAULT_FAMILY
    name: str = field(default="", compare=False)
    is_relative: bool = False

    def __init__(
        self,
        *,
        dsp: float | None = None,
        bram18: float | None = None,
        bram36: float | None = None,
        uram: float | None = None,
        lut: float | None = None,
        ff: float | None = None,
        family: str = DEFAULT_FAMILY,
    ) -> None:
        if bram18 is not None and bram36 is not None:
            raise InvalidInputError(
                "give bram18 or bram36, which is twice as large, not both. "
                f"Received: bram18={bram18!r}, bram36={bram36!r}"
            )
        if bram36 is not None:
            bram18 = 2 * bram36
        given = {"dsp": dsp, "bram18": bram18, "uram": uram, "lut": lut, "ff": ff}
        self._fill({name: limit for name, limit in given.items() if limit is not None}, family)

    def _fill(
        self,
        amounts: Mapping[str, float],
        family: str,
        name: str = "",
        is_relative: bool = False,
    ) -> None:
        if not amounts:
            raise InvalidInputError(f"a budget must limit at least one of {', '.join(RESOURCES)}.")
        for resource, limit in amounts.items():
            if not 0 <= limit < math.inf:
                raise InvalidInputError(
                    f"{resource} must be a number of at least 0. Received: {resource}={limit!r}"
                )
        set_ = object.__setattr__
        ordered = {each: float(amounts[each]) for each in RESOURCES if each in amounts}
        set_(self, "amounts", ordered)
        set_(self, "family", family)
        set_(self, "name", name)
        set_(self, "is_relative", is_relative)

    @classmethod
    def device(
        cls, device: str | Device, fraction: float = 1.0, *, keep: tuple[str, ...] = RESOURCES
    ) -> Budget:
        """Return what a board or part has, or a fraction of it.

        Parameters
        ----------
        device
            A name of :func:`fabricfit.hardware.devices`, or a :class:`fabricfit.hardware.Device`.
        fraction
            How much of it the design may take, above 0 and at most 1. Tools rarely route a design that
            fills more than about 80 %.
        keep
            The resources to limit; those that the device does not have are left out.

        Raises
        ------
        InvalidInputError
            The device is not known, or the fraction out of range.
        """
        if not 0 < fraction <= 1:
            raise InvalidInputError(
                f"fraction must be above 0 and at most 1. Received: fraction={fraction!r}"
            )
        found = find_device(device) if isinstance(device, str) else device
        has = {
            "dsp": found.dsp,
            "bram18": 2 * found.bram36,
            "uram": found.uram,
            "lut": found.lut,
            "ff": found.ff,
        }
        made = cls.__new__(cls)
        amounts = {name: math.floor(has[name] * fraction) for name in keep if has[name]}
        part = "" if fraction == 1 else f"{fraction:.0%} of "
        made._fill(amounts, found.family, f"{part}{found.name}")
        return made

    @classmethod
    def relative(cls, *, family: str = DEFAULT_FAMILY, **fractions: float) -> Budget:
        """Return parts of what the model takes before it is optimized.

        Parameters
        ----------
        family
            As for :class:`Budget`.
        **fractions
            Resource -> part that may be left, from 0 to 1; ``bram36`` means the same as ``bram18``.

        Raises
        ------
        InvalidInputError
            A name is not a resource, or a part is out of range.
        """
        amounts = {
            "bram18" if name == "bram36" else name: value for name, value in fractions.items()
        }
        for name, value in amounts.items():
            if name not in RESOURCES:
                raise InvalidInputError(
                    f"a resource must be one of {', '.join(RESOURCES)}. Received: {name!r}"
                )
            if not 0 <= value <= 1:
                raise InvalidInputError(
                    f"{name} must be a part between 0 and 1. Received: {name}={value!r}"
                )
        made = cls.__new__(cls)
        made._fill(amounts, family, is_relative=True)
        return made

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the resources that are limited."""
        return tuple(self.amounts)

    def limits(self, baseline: Mapping[str, float]) -> dict[str, float]:
        """Return the limits in units of the resources.

        Parameters
        ----------
        baseline
            Resource -> what the model takes now; used by a relative budget.
        """
        if not self.is_relative:
            return dict(self.amounts)
        return {
            name: math.floor(part * baseline.get(name, 0.0) + 1e-9)
            for name, part in self.amounts.items()
        }

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={limit:g}" for name, limit in self.amounts.items())
        if self.is_relative:
            return f"Budget.relative({inside})"
        return f"Budget({inside})" + (f"  # {self.name}" if self.name else "")
