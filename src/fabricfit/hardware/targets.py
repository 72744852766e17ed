"""What a design is built for and with: family, clock, compiler, and how it binds products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fabricfit.checks import number, one_of, text
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.hardware.families import DEFAULT_FAMILY, Family, find_family
from fabricfit.hardware.tools import DEFAULT_TOOL, ToolLaws, find_tool

__all__ = [
    "BINDINGS",
    "DEFAULT_CLOCK_NS",
    "DEFAULT_TARGET",
    "Target",
    "TargetLike",
    "check_clock",
    "find_target",
]

DEFAULT_CLOCK_NS = 5.0
"""hls4ml's default clock period."""

BINDINGS = ("auto", "dsp", "fabric")
"""How products are bound: as the compiler decides, all to DSP blocks, all to LUTs
(``config_op mul -impl dsp`` or ``fabric`` of Vitis HLS)."""


@dataclass(frozen=True)
class Target:
    """What a design is built for and with.

    Parameters
    ----------
    family
        A name of :func:`fabricfit.hardware.families`.
    clock_ns
        Target clock period in nanoseconds.
    tool
        The HLS compiler and its version, see :func:`fabricfit.hardware.find_tool`.
    binding
        ``'auto'``, ``'dsp'`` or ``'fabric'``: what the compiler is told to build products from.
    part
        The part, where it is known; only its family counts.
    unbuilt
        Strategies of hls4ml that its backend for the compiler does not build.

    Raises
    ------
    InvalidInputError
        A name is not known, or the clock is not above 0.

    Examples
    --------
    >>> Target("7series", clock_ns=3.33, tool="vitis 2021.1").tool
    'Vitis HLS 2021.1'
    """

    family: str = DEFAULT_FAMILY
    clock_ns: float = DEFAULT_CLOCK_NS
    tool: str = DEFAULT_TOOL
    binding: str = "auto"
    part: str = ""
    unbuilt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "family", find_family(self.family).name)
        set_(self, "clock_ns", check_clock("clock_ns", self.clock_ns))
        set_(self, "tool", _spell_tool(self.tool))
        one_of("binding", self.binding, BINDINGS)
        text("part", self.part, empty=True)
        if not isinstance(self.unbuilt, tuple | list):
            raise InvalidTypeError(
                f"unbuilt must be a tuple of strategies. Received: unbuilt={spell(self.unbuilt)}"
            )
        for strategy in self.unbuilt:
            canonical_strategy(strategy)

    @cached_property
    def laws(self) -> ToolLaws:
        """The numbers of the compiler."""
        return find_tool(self.tool)

    @property
    def program(self) -> str:
        """The compiler without its version."""
        return self.tool.rpartition(" ")[0]

    @property
    def usable_ns(self) -> float:
        """What the compiler fills of a clock period, in nanoseconds."""
        return self.clock_ns * (1 - self.laws.uncertainty)

    @property
    def level_ns(self) -> float:
        """Nanoseconds of one level of a tree of adders."""
        return self.laws.delay(self.laws.level_ns, self.family)

    @property
    def product_ns(self) -> float:
        """Nanoseconds of a product with a hard constant."""
        return self.laws.delay(self.laws.dsp_ns, self.family)

    @property
    def is_calibrated(self) -> bool:
        """Whether the compiler's fitted laws hold as they are: its family and its clock."""
        measured = self.laws.measured
        low, high = measured.clocks
        return self.family in measured.families and low <= self.clock_ns <= high

    def __str__(self) -> str:
        bound = {"auto": "", "dsp": ", products in DSPs", "fabric": ", products in LUTs"}
        return f"{self.family}, {self.clock_ns:g} ns, {self.tool}{bound[self.binding]}"


def check_clock(name: str, value: Any) -> float:
    """Return the period of a clock in nanoseconds.

    Raises
    ------
    InvalidInputError
        It is none of a clock that an FPGA may have.
    """
    try:
        return number(name, value, above=0, below=1e6)
    except InvalidInputError:
        raise InvalidInputError(
            f"{name} must be a period in nanoseconds, above 0. Received: {name}={spell(value)}"
        ) from None


def _spell_tool(tool: str) -> str:
    """Return a tool's name with the version that was asked for, whose laws may be another version's."""
    found = find_tool(tool)
    version = next((part for part in str(tool).split() if part[:2] == "20"), "")
    program = found.name.rpartition(" ")[0]
    return f"{program} {version}" if version else found.name


DEFAULT_TARGET = Target()
"""What the laws were established on: UltraScale+, 5 ns, Vivado HLS 2020.1."""

TargetLike = str | Family | Target
"""A target, or the name of its family, all else being the default."""


def find_target(target: TargetLike) -> Target:
    """Return a target; of a family the one with the default clock and compiler.

    Raises
    ------
    InvalidInputError
        No such family is known.
    """
    return target if isinstance(target, Target) else Target(find_family(target).name)
