"""The kinds of resources that are counted: one record each, and the registry of all of them.

The built-in ones are registered beside their laws, in :mod:`fabricfit.hardware.resources`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabricfit.checks import instance, mapping, number, one_of, text
from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell, unknown_name
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.product import Product, Work

__all__ = [
    "ResourceKind",
    "amount_names",
    "find_resource",
    "in_base_units",
    "register_resource",
    "resource_kinds",
    "resource_names",
]

ProductLaw = Callable[[Product, Work, Any], Estimate]
"""Usage of a matrix product, of the work that its weights leave to do, built for a
:class:`~fabricfit.hardware.Target`."""

LayerLaw = Callable[[LayerAttributes], Estimate]
"""Usage of a layer beside its matrix product: its activation, or the layer itself if it has no kernel."""


@dataclass(frozen=True)
class ResourceKind:
    """One kind of resource.

    Resources are additive: what a model uses is the sum over its layers.

    Parameters
    ----------
    name
        What it is called in code and files: a Python identifier in lower case.
    label
        What tables call it, where a family has no name of its own for it.
    unit
        What is counted.
    law
        Usage of a matrix product; None where it is only limited and reported, not estimated.
    layer_law
        Usage of a layer beside its matrix product, if the law is not all.
    multiples
        Other name for amounts -> how many of this resource one of them is.

    Raises
    ------
    InvalidInputError
        A name is no identifier.
    """

    name: str
    label: str
    unit: str
    law: ProductLaw | None = None
    layer_law: LayerLaw | None = None
    multiples: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mapping("multiples", self.multiples)
        for name in (self.name, *self.multiples):
            if not isinstance(name, str) or not name.isidentifier():
                raise InvalidInputError(
                    f"the name of a resource must be an identifier. Received: {spell(name)}"
                )
        for name, amount in self.multiples.items():
            number(f"multiples[{name!r}]", amount, above=0)
        text("label", self.label)
        text("unit", self.unit)
        for name in ("law", "layer_law"):
            law = getattr(self, name)
            if law is not None and not callable(law):
                raise InvalidTypeError(
                    f"{name} must be a function, or None. Received: {name}={spell(law)}"
                )


_KINDS: dict[str, ResourceKind] = {}


def register_resource(kind: ResourceKind) -> ResourceKind:
    """Make a resource known: estimates, budgets, objectives and reports count it from then on.

    A known one of the same name is replaced. Tables show resources in the order of registration.
    """
    instance("kind", kind, ResourceKind)
    _KINDS[kind.name] = kind
    return kind


def resource_kinds() -> tuple[ResourceKind, ...]:
    """Return all kinds of resources, in the order in which tables show them."""
    return tuple(_KINDS.values())


def resource_names() -> tuple[str, ...]:
    """Return the names of all resources, in the order in which tables show them."""
    return tuple(_KINDS)


def amount_names() -> tuple[str, ...]:
    """Return all names by which amounts can be given: those of the resources and of their multiples."""
    return tuple(name for kind in _KINDS.values() for name in (kind.name, *kind.multiples))


def find_resource(name: str) -> ResourceKind:
    """Return a kind of resource by its name.

    Raises
    ------
    InvalidInputError
        No such resource is known.
    """
    return _KINDS[one_of("resource", name, _KINDS)]


def in_base_units(amounts: Mapping[str, float], *, fractions: bool = False) -> dict[str, float]:
    """Return amounts by the names of resources, multiples converted.

    Parameters
    ----------
    amounts
        Any of :func:`amount_names` -> amount.
    fractions
        Whether the amounts are fractions, which are the same by every name.

    Raises
    ------
    InvalidInputError
        A name is not known, or a resource is given by two names.
    """
    found: dict[str, float] = {}
    for name, amount in amounts.items():
        number(str(name), amount, least=0, most=1 if fractions else None)
        kind = next((k for k in _KINDS.values() if name in (k.name, *k.multiples)), None)
        if kind is None:
            raise unknown_name("resource", name, amount_names())
        if kind.name in found:
            names = ", ".join(
                f"{n}={amounts[n]!r}" for n in (kind.name, *kind.multiples) if n in amounts
            )
            raise InvalidInputError(
                f"{kind.label} must be given by one name, not by several. Received: {names}"
            )
        found[kind.name] = amount * (1 if fractions else kind.multiples.get(name, 1))
    return {name: found[name] for name in _KINDS if name in found}
