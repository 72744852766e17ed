"""Limits of a design: amounts of resources, a board, or fractions of the present usage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fabricfit.errors import InvalidInputError
from fabricfit.hardware.devices import Device, find_device
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hardware.resource_records import in_base_units, resource_names

__all__ = ["Budget"]


@dataclass(frozen=True, init=False)
class Budget:
    """Limits of resources; those that are not named are not limited.

    Parameters
    ----------
    family
        Whose DSP blocks and memories they are, a name of :func:`fabricfit.hardware.families`.
    **limits
        How many there are of each resource: ``dsp``, ``bram18`` or ``bram36`` (block RAMs in units of 18
        or of 36 kbit), ``uram``, ``lut``, ``ff``, and what was added with
        :func:`fabricfit.hardware.register_resource`. None is no limit.

    Raises
    ------
    InvalidInputError
        No limit is given, one is negative or not finite, a resource is not known, or one is given twice.

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
    """Resource -> limit: how many, or the fraction of the model's usage if :attr:`is_relative`."""

    family: str = DEFAULT_FAMILY
    name: str = field(default="", compare=False)
    is_relative: bool = False

    def __init__(self, *, family: str = DEFAULT_FAMILY, **limits: float | None) -> None:
        given = {name: limit for name, limit in limits.items() if limit is not None}
        self._set_amounts(in_base_units(given), family)

    def _set_amounts(
        self,
        amounts: Mapping[str, float],
        family: str,
        name: str = "",
        is_relative: bool = False,
    ) -> None:
        if not amounts:
            names = ", ".join(resource_names())
            raise InvalidInputError(f"a budget must limit at least one of {names}.")
        for resource, limit in amounts.items():
            if not 0 <= limit < math.inf:
                raise InvalidInputError(
                    f"{resource} must be a number of at least 0. Received: {resource}={limit!r}"
                )
        set_ = object.__setattr__
        set_(self, "amounts", {name: float(limit) for name, limit in amounts.items()})
        set_(self, "family", family)
        set_(self, "name", name)
        set_(self, "is_relative", is_relative)

    @classmethod
    def device(
        cls, device: str | Device, fraction: float = 1.0, *, keep: tuple[str, ...] | None = None
    ) -> Budget:
        """Return what a board or part has, or a fraction of it.

        Parameters
        ----------
        device
            A name of :func:`fabricfit.hardware.devices`, or a :class:`fabricfit.hardware.Device`.
        fraction
            How much of it the design may use, above 0 and at most 1. Tools rarely route a design that
            fills more than about 80 %.
        keep
            The resources to limit, all by default; those that the device does not have are left out.

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
        made = cls.__new__(cls)
        amounts = {
            name: math.floor(amount * fraction)
            for name, amount in found.amounts.items()
            if amount and (keep is None or name in keep)
        }
        part = "" if fraction == 1 else f"{fraction:.0%} of "
        made._set_amounts(amounts, found.family, f"{part}{found.name}")
        return made

    @classmethod
    def relative(cls, *, family: str = DEFAULT_FAMILY, **fractions: float) -> Budget:
        """Return fractions of what the model uses before it is optimized.

        Parameters
        ----------
        family
            As for :class:`Budget`.
        **fractions
            Resource -> fraction that may be left, from 0 to 1; ``bram36`` means the same as ``bram18``.

        Raises
        ------
        InvalidInputError
            A name is not a resource, or a fraction is out of range.
        """
        amounts = in_base_units(fractions, fractions=True)
        for name, value in amounts.items():
            if not 0 <= value <= 1:
                raise InvalidInputError(
                    f"{name} must be a fraction between 0 and 1. Received: {name}={value!r}"
                )
        made = cls.__new__(cls)
        made._set_amounts(amounts, family, is_relative=True)
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
            Resource -> what the model uses now; needed for a relative budget.
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
