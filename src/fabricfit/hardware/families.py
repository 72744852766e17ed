"""Families of FPGAs: what one DSP block multiplies, and what one block of memory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabricfit.checks import instance, mapping, one_of, text, whole_numbers
from fabricfit.description.strategies import STRATEGIES
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell, unknown_name
from fabricfit.hardware.resource_records import find_resource

__all__ = ["DEFAULT_FAMILY", "Family", "families", "find_family", "register_family"]

DEFAULT_FAMILY = "ultrascale+"
"""The family that the synthesis results behind the laws are of."""


@dataclass(frozen=True)
class Family:
    """One family.

    Parameters
    ----------
    name
        Its name, in lower case.
    dsp_block
        Name of its DSP block, by which it is found as well.
    products
        ``(wide, narrow, count)``: signed widths in bits of the two operands, and the number of such
        products in one block; the narrowest first. The last one is the block as a single multiplier.
    memory_shapes
        ``(words, bits)`` of one block of memory, the shallowest first.
    labels
        Resource -> what this family calls it, where that is not what AMD does.
    strategies
        What hls4ml's backends for this family build; anything else is built as the first of them.

    Raises
    ------
    InvalidInputError
        There is no product or no shape.
    """

    name: str
    dsp_block: str
    products: tuple[tuple[int, int, int], ...]
    memory_shapes: tuple[tuple[int, int], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    strategies: tuple[str, ...] = STRATEGIES

    def __post_init__(self) -> None:
        text("name", self.name)
        text("dsp_block", self.dsp_block)
        for name, size in (("products", 3), ("memory_shapes", 2)):
            _check_table(name, getattr(self, name), size, self.name)
        mapping("labels", self.labels)
        if not isinstance(self.strategies, tuple | list) or not self.strategies:
            raise InvalidTypeError(
                f"strategies must be a tuple of names. Received: strategies={spell(self.strategies)}"
            )
        for strategy in self.strategies:
            one_of("strategies", strategy, STRATEGIES)

    def label(self, resource: str) -> str:
        """Return what a resource is called in tables.

        Raises
        ------
        InvalidInputError
            No such resource is known.
        """
        return self.labels.get(resource) or find_resource(resource).label

    def built(self, strategy: str) -> str:
        """Return the strategy with which a layer is built that asks for this one."""
        return strategy if strategy in self.strategies else self.strategies[0]

    @property
    def dsp_ports(self) -> tuple[int, int]:
        """Signed widths in bits of the ports of a block that is a single multiplier."""
        wide, narrow, _ = self.products[-1]
        return wide, narrow


def _check_table(name: str, rows: Any, size: int, family: str) -> None:
    """Refuse what is no tuple of rows of whole numbers."""
    given = rows if isinstance(rows, tuple | list) else ()
    fits = all(isinstance(row, tuple | list) and len(row) == size for row in given)
    if not given or not fits:
        raise InvalidInputError(
            f"family {family!r} needs at least one product and one shape of memory: {name} must be a tuple "
            f"of tuples of {size} whole numbers. Received: {name}={spell(rows)}"
        )
    for row in given:
        whole_numbers(name, row)


_RAMB18 = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""AMD UG473 and UG573, "Port Aspect Ratios"; 512 words of 36 bits in simple dual-port mode or as ROM."""

_M20K = ((512, 40), (1024, 20), (2048, 10))
"""Intel Arria 10 Core Fabric Handbook, "Embedded Memory Configurations for Single-port Mode"."""

_INTEL = {"bram18": "M20K", "lut": "ALUT", "ff": "register"}

_INTEL_STRATEGIES = ("resource",)
"""hls4ml's Quartus and oneAPI backends know no other; with a reuse factor of 1 weights are constants."""

_FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> Family:
    """Make a family known by its name and by that of its DSP block; a known one is replaced."""
    instance("family", family, Family)
    _FAMILIES[family.name.lower()] = family
    return family


def families() -> tuple[str, ...]:
    """Return the names of all known families."""
    return tuple(_FAMILIES)


def find_family(name: str | Family) -> Family:
    """Return a family by its name or by that of its DSP block, in any case.

    Raises
    ------
    InvalidInputError
        No such family is known.
    """
    if isinstance(name, Family):
        return name
    wanted = name.lower() if isinstance(name, str) else ""
    if wanted in _FAMILIES:
        return _FAMILIES[wanted]
    for family in _FAMILIES.values():
        if family.dsp_block.lower() == wanted:
            return family
    blocks = (family.dsp_block for family in _FAMILIES.values())
    raise unknown_name("family", name, dict.fromkeys([*_FAMILIES, *blocks]))


# AMD: UG479 (DSP48E1), UG579 (DSP48E2), AM004 (DSP58).
register_family(Family("ultrascale+", "DSP48E2", ((27, 18, 1),), _RAMB18))
register_family(Family("ultrascale", "DSP48E2", ((27, 18, 1),), _RAMB18))
register_family(Family("7series", "DSP48E1", ((25, 18, 1),), _RAMB18))
register_family(Family("versal", "DSP58", ((27, 24, 1),), _RAMB18))
# Intel: "Variable Precision DSP Blocks" in the handbook of Arria 10; UG-S10-DSP; UG-20213 (Agilex).
_VARIABLE = ((19, 18, 2), (27, 27, 1))
register_family(Family("arria10", "Arria 10 DSP", _VARIABLE, _M20K, _INTEL, _INTEL_STRATEGIES))
register_family(Family("stratix10", "Stratix 10 DSP", _VARIABLE, _M20K, _INTEL, _INTEL_STRATEGIES))
register_family(
    Family("agilex7", "Agilex DSP", ((9, 9, 4), *_VARIABLE), _M20K, _INTEL, _INTEL_STRATEGIES)
)
