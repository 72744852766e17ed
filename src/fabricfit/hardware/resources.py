"""All resources of one layer, and the table of the built-in kinds of resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fabricfit.hardware.bram import product_memory
from fabricfit.hardware.calibration import elsewhere
from fabricfit.hardware.dsp import product_dsp
from fabricfit.hardware.estimates import NOTE_BREAK, Estimate, joined_notes, total
from fabricfit.hardware.luts_and_ffs import product_ff, product_lut
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.resource_records import (
    ResourceKind,
    find_resource,
    register_resource,
    resource_kinds,
    resource_names,
)
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = ["RESOURCES", "Resources", "product_resources"]


def _estimate_lut(product: Product, work: Work, target: Target) -> Estimate:
    return elsewhere(product_lut(product, work, target), target)


def _estimate_ff(product: Product, work: Work, target: Target) -> Estimate:
    return elsewhere(product_ff(product, work, target), target)


_NONE = Estimate.exact(0)

_TABLE = (
    ResourceKind("dsp", "DSP", "DSP blocks", product_dsp),
    ResourceKind("bram18", "BRAM18", "18 kbit blocks", product_memory, multiples={"bram36": 2}),
    ResourceKind("uram", "URAM", "288 kbit blocks"),
    ResourceKind("lut", "LUT", "look-up tables", _estimate_lut),
    ResourceKind("ff", "FF", "flip-flops", _estimate_ff),
)
"""The built-in resources, in the order in which tables show them."""

for _kind in _TABLE:
    register_resource(_kind)

RESOURCES = tuple(kind.name for kind in _TABLE)
"""Names of the built-in resources; :func:`~fabricfit.hardware.resource_records.resource_names` has all."""


class Resources(Mapping[str, Estimate]):
    """Estimates by the name of the resource, in the order of their registration.

    None is used of a resource that was not named.

    Parameters
    ----------
    estimates
        Name -> estimate, or a number for one that is exact.

    Raises
    ------
    InvalidInputError
        No such resource is known.

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
            find_resource(name)
        self._estimates = {
            name: _as_estimate(estimates[name]) if name in estimates else _NONE
            for name in resource_names()
        }

    def __getitem__(self, name: str) -> Estimate:
        return self._estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._estimates)

    def __len__(self) -> int:
        return len(self._estimates)

    def __add__(self, other: Resources) -> Resources:
        found = Resources.__new__(Resources)
        rest = other._estimates
        found._estimates = {n: _add(each, rest[n]) for n, each in self._estimates.items()}
        return found

    def times(self, factor: float) -> Resources:
        """Return the usage of a number of the same."""
        return Resources(**{name: each.times(factor) for name, each in self.items()})

    @property
    def values_only(self) -> dict[str, float]:
        """The most likely values, by name."""
        return {name: each.value for name, each in self.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What lies outside the measurements, each said once: a line for what begins alike."""
        said: dict[str, list[str]] = {}
        for part in joined_notes(each.note for each in self.values()).split(NOTE_BREAK):
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


def product_resources(
    product: Product, work: Work, target: TargetLike = DEFAULT_TARGET
) -> Resources:
    """Estimate the usage of a layer's matrix product.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do: :meth:`Work.of` a kernel, or :meth:`Work.full`.
    target
        What it is built for and with, or a name of :func:`fabricfit.hardware.families`; where that was not
        measured, error bars are wider.
    """
    check_product(product, work)
    chosen = find_target(target)
    laws = {kind.name: kind.law for kind in resource_kinds()}
    return Resources(
        **{n: law(product, work, chosen) for n, law in laws.items() if law is not None}
    )


def _add(one: Estimate, other: Estimate) -> Estimate:
    if one is _NONE or other is _NONE:
        return other if one is _NONE else one
    return total((one, other))


def _as_estimate(value: Estimate | float) -> Estimate:
    return value if isinstance(value, Estimate) else Estimate.exact(value)
