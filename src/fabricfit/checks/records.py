"""Checks of objects by their classes, and of records by the types that they declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from fabricfit.errors import InvalidTypeError, spell

__all__ = ["check_types", "instance", "mapping"]

_Kind = TypeVar("_Kind")

_CLASSES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool, np.bool_),
    "int": (Integral,),
    "float": (Real,),
    "tuple": (tuple, list),
    "list": (list, tuple),
    "Sequence": (list, tuple, np.ndarray),
    "dict": (Mapping,),
    "Mapping": (Mapping,),
    "type": (type,),
    "np.ndarray": (np.ndarray,),
    "None": (type(None),),
}
"""Words of annotations -> classes of what they stand for; a flag is no number."""


def instance(name: str, value: Any, kind: type[_Kind], example: str = "") -> _Kind:
    """Return an object of a class, or of a subclass.

    Parameters
    ----------
    name
        What the value is called, for the message.
    value
        The object; the class itself is none.
    kind
        Its class.
    example
        What to write for one, for the message.

    Raises
    ------
    InvalidTypeError
        It is of another class.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
        hint = f", for example {example}" if example else ""
        raise InvalidTypeError(
            f"{name} must be {article} {kind.__name__}{hint}. Received: {name}={spell(value)}"
        )
    return value


def mapping(name: str, value: Any) -> Mapping[Any, Any]:
    """Return a dictionary of any type.

    Raises
    ------
    InvalidTypeError
        It is none.
    """
    if not isinstance(value, Mapping):
        raise InvalidTypeError(f"{name} must be a dictionary. Received: {name}={spell(value)}")
    return value


def check_types(record: Any) -> None:
    """Refuse a record of which a field holds something of another kind than it declares.

    Only the outermost kind is looked at, and only that of plain types: what is in a list is not, and classes
    of fabricfit's own are for :func:`instance`.

    Raises
    ------
    InvalidTypeError
        One does.
    """
    kind: Any = type(record)
    for name, annotation, classes in _list_kinds(kind):
        value = getattr(record, name)
        flag = isinstance(value, bool) and bool not in classes
        if flag or not isinstance(value, classes):
            raise InvalidTypeError(
                f"{name} of {kind.__name__} must be {annotation}. Received: {name}={spell(value)}"
            )


@lru_cache(maxsize=256)
def _list_kinds(kind: Any) -> tuple[tuple[str, str, tuple[type, ...]], ...]:
    """Return the fields of a record whose annotations are plain: names, annotations and classes."""
    found = []
    for each in fields(kind):
        words = [part.strip().partition("[")[0] for part in _split(str(each.type))]
        if all(word in _CLASSES for word in words):
            classes = tuple(one for word in words for one in _CLASSES[word])
            found.append((each.name, str(each.type), classes))
    return tuple(found)


def _split(annotation: str) -> list[str]:
    """Return the parts of a union, those inside of brackets not counted."""
    depth, parts, start = 0, [], 0
    for place, letter in enumerate(annotation):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "|" and not depth:
            parts.append(annotation[start:place])
            start = place + 1
    return [*parts, annotation[start:]]
