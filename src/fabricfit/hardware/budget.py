"""Limits of a design: amounts of resources, a board, or fractions of the present usage; and deadlines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabricfit.checks import number, one_of
from fabricfit.description.quantities import parse_clock, parse_time, spell_time
from fabricfit.description.timing import DEADLINES
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.hardware.devices import Device, find_device
from fabricfit.hardware.families import DEFAULT_FAMILY, find_family
from fabricfit.hardware.resource_records import in_base_units, resource_names
from fabricfit.hardware.synthesized import HLS, LOGIC_SYNTHESIS, check_stage
from fabricfit.hardware.targets import Target

__all__ = ["Budget"]


@dataclass(frozen=True, init=False)
class Budget:
    """Limits of resources and of time; what is not named is not limited.

    Parameters
    ----------
    family
        Whose DSP blocks and memories they are, a name of :func:`fabricfit.hardware.families`.
    clock_ns, tool, binding, part
        What the design is built for and with, as for :class:`fabricfit.hardware.Target`; what is not given is
        what the configuration says, else a board's usual clock and the default tool.
    margin
        How much of an estimate's error bar has to be within the limits: 0 for the most likely value, 1 for
        the upper end.
    stage
        Whose LUTs and flip-flops are meant: ``'hls'``, those of the report of HLS, or
        ``'logic synthesis'``, what is left after that. The limits of a board mean the latter.
    latency, interval
        Deadlines: the longest time from a sample to its result, and between two samples. A text such as
        ``'1us'`` or ``'25 ns'``, or a number of nanoseconds; None is no deadline.
    clock
        The clock in place of ``clock_ns``, as a frequency (``'200MHz'``) or a period (``'5ns'``).
    **limits
        How many there are of each resource: ``dsp``, ``bram18`` or ``bram36`` (block RAMs in units of 18
        or of 36 kbit), ``uram``, ``lut``, ``ff``, and what was added with
        :func:`fabricfit.hardware.register_resource`. None is no limit.

    Raises
    ------
    InvalidInputError
        No limit is given, one is negative or not finite, a resource is not known, one is given twice, or a
        deadline or the clock is none.

    Examples
    --------
    >>> Budget(dsp=220, bram36=140)
    Budget(dsp=220, bram18=280)
    >>> Budget.device("pynq-z2", fraction=0.8).limits({})["dsp"]
    176.0
    >>> Budget.relative(dsp=0.5).limits({"dsp": 1064})
    {'dsp': 532.0}
    >>> Budget(dsp=220, latency="1us", interval="25ns", clock="200MHz")
    Budget(dsp=220, latency='1us', interval='25ns')
    """

    amounts: Mapping[str, float]
    """Resource -> limit: how many, or the fraction of the model's usage if :attr:`is_relative`."""

    family: str = DEFAULT_FAMILY
    name: str = field(default="", compare=False)
    is_relative: bool = False
    stage: str = HLS
    clock_ns: float | None = None
    tool: str | None = None
    binding: str | None = None
    part: str | None = None
    margin: float = 0.0
    latency_ns: float | None = None
    interval_ns: float | None = None
    usual_clock_ns: float | None = field(default=None, compare=False)
    chosen: Target | None = field(default=None, compare=False)

    def __init__(
        self,
        *,
        family: str = DEFAULT_FAMILY,
        clock_ns: float | None = None,
        tool: str | None = None,
        binding: str | None = None,
        part: str | None = None,
        stage: str = HLS,
        margin: float = 0.0,
        latency: str | float | None = None,
        interval: str | float | None = None,
        clock: str | float | None = None,
        **limits: float | None,
    ) -> None:
        given = {name: limit for name, limit in limits.items() if limit is not None}
        built = {
            "tool": tool,
            "binding": binding,
            "part": part,
            "margin": _check_margin(margin),
            **_read_times(clock_ns, clock, latency, interval),
        }
        self._set_amounts(in_base_units(given), family, stage=stage, built=built)

    def _set_amounts(
        self,
        amounts: Mapping[str, float],
        family: str,
        name: str = "",
        is_relative: bool = False,
        stage: str = HLS,
        built: Mapping[str, Any] | None = None,
    ) -> None:
        built = dict(built or {})
        if not amounts and all(built.get(f"{name}_ns") is None for name in DEADLINES):
            names = ", ".join((*resource_names(), *DEADLINES))
            raise InvalidInputError(f"a budget must limit at least one of {names}.")
        set_ = object.__setattr__
        set_(self, "amounts", {name: float(limit) for name, limit in amounts.items()})
        find_family(family)
        set_(self, "family", family if isinstance(family, str) else family.name)
        set_(self, "name", name)
        set_(self, "is_relative", is_relative)
        set_(self, "stage", check_stage(stage))
        for key, value in built.items():
            set_(self, key, value)
        self.target  # noqa: B018 - checks the names

    @property
    def target(self) -> Target:
        """What the design is built for and with, as far as the budget says; the rest is the default."""
        return self.chosen or self.target_with({})

    def target_with(self, stated: Mapping[str, Any]) -> Target:
        """Return what the design is built for and with.

        Parameters
        ----------
        stated
            Names of the parameters of :class:`fabricfit.hardware.Target` -> what a configuration says;
            what the budget itself says goes before it, but for a board's usual clock.
        """
        own = {name: getattr(self, name) for name in ("clock_ns", "tool", "binding", "part")}
        own = {name: value for name, value in own.items() if value is not None}
        if self.usual_clock_ns is not None:
            own = {"clock_ns": stated.get("clock_ns", self.usual_clock_ns), **own}
        family = self.family
        if self.is_default_family and stated.get("family"):
            family = stated["family"]
        rest = {name: value for name, value in stated.items() if name != "family"}
        return Target(family, **{**rest, **own})

    @property
    def is_default_family(self) -> bool:
        """Whether the family was not chosen by a board or by name."""
        return self.family == DEFAULT_FAMILY and not self.name

    def without_family(self) -> Budget:
        """Return the same limits for a family that is to be chosen yet."""
        return self._changed(family=DEFAULT_FAMILY, name="", part=None)

    def with_target(self, target: Target) -> Budget:
        """Return the same limits for a design that is built for and with this."""
        return self._changed(family=target.family, chosen=target)

    def with_margin(self, margin: float) -> Budget:
        """Return the same limits, of which so much of an estimate's error bar has to be within.

        Parameters
        ----------
        margin
            From 0, the most likely value, to 1, the upper end.

        Raises
        ------
        InvalidInputError
            It is not a number from 0 to 1.
        """
        return self._changed(margin=_check_margin(margin))

    def _changed(self, **changes: Any) -> Budget:
        made = Budget.__new__(Budget)
        for name, value in {**vars(self), **changes}.items():
            object.__setattr__(made, name, value)
        return made

    @classmethod
    def device(
        cls,
        device: str | Device,
        fraction: float = 1.0,
        *,
        keep: tuple[str, ...] | None = None,
        clock_ns: float | None = None,
        tool: str | None = None,
        binding: str | None = None,
        stage: str = LOGIC_SYNTHESIS,
        latency: str | float | None = None,
        interval: str | float | None = None,
        clock: str | float | None = None,
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
        clock_ns, tool, binding, stage, latency, interval, clock
            As for :class:`Budget`; the clock is the board's usual one if it is neither given nor stated in
            the configuration.

        Raises
        ------
        InvalidInputError
            The device is not known, or the fraction out of range.
        """
        fraction = number("fraction", fraction, above=0, most=1)
        found = device if isinstance(device, Device) else find_device(device)
        if keep is not None:
            keep = _check_resources("keep", keep)
        made = cls.__new__(cls)
        amounts = {
            name: math.floor(amount * fraction)
            for name, amount in found.amounts.items()
            if amount and (keep is None or name in keep)
        }
        part = "" if fraction == 1 else f"{fraction:.0%} of "
        built = {
            "tool": tool,
            "binding": binding,
            "part": found.part,
            "usual_clock_ns": found.clock_ns,
            **_read_times(clock_ns, clock, latency, interval),
        }
        name = f"{part}{found.name}"
        made._set_amounts(amounts, found.family, name, stage=stage, built=built)
        return made

    @classmethod
    def relative(
        cls,
        *,
        family: str = DEFAULT_FAMILY,
        clock_ns: float | None = None,
        latency: str | float | None = None,
        interval: str | float | None = None,
        clock: str | float | None = None,
        **fractions: float,
    ) -> Budget:
        """Return fractions of what the model uses before it is optimized.

        Parameters
        ----------
        family, clock_ns, latency, interval, clock
            As for :class:`Budget`: deadlines are times, not fractions.
        **fractions
            Resource -> fraction that may be left, from 0 to 1; ``bram36`` means the same as ``bram18``.

        Raises
        ------
        InvalidInputError
            A name is not a resource, or a fraction is out of range.
        """
        amounts = in_base_units(fractions, fractions=True)
        made = cls.__new__(cls)
        built = _read_times(clock_ns, clock, latency, interval)
        made._set_amounts(amounts, family, is_relative=True, built=built)
        return made

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the resources that are limited."""
        return tuple(self.amounts)

    @property
    def deadlines(self) -> dict[str, float]:
        """``'latency'`` and ``'interval'``, those that are limited -> nanoseconds."""
        found = {"latency": self.latency_ns, "interval": self.interval_ns}
        return {name: limit for name, limit in found.items() if limit is not None}

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
        parts = [f"{name}={limit:g}" for name, limit in self.amounts.items()]
        parts += [f"{name}={spell_time(limit)!r}" for name, limit in self.deadlines.items()]
        inside = ", ".join(parts)
        if self.is_relative:
            return f"Budget.relative({inside})"
        return f"Budget({inside})" + (f"  # {self.name}" if self.name else "")


def _check_margin(margin: Any) -> float:
    return number("margin", margin, least=0, most=1)


def _check_resources(name: str, resources: Any) -> tuple[str, ...]:
    if not isinstance(resources, tuple | list | set | frozenset):
        raise InvalidTypeError(
            f"{name} must be a list of names of resources. Received: {name}={spell(resources)}"
        )
    return tuple(one_of(name, each, resource_names()) for each in resources)


def _read_times(clock_ns: float | None, clock: Any, latency: Any, interval: Any) -> dict[str, Any]:
    """Return the clock period and the deadlines in nanoseconds, by the names of the budget's fields."""
    if clock is not None and clock_ns is not None:
        raise InvalidInputError(
            f"the clock must be given once. Received: clock={spell(clock)}, clock_ns={spell(clock_ns)}"
        )
    return {
        "clock_ns": clock_ns if clock is None else parse_clock(clock),
        "latency_ns": None if latency is None else parse_time(latency, "latency"),
        "interval_ns": None if interval is None else parse_time(interval, "interval"),
    }
