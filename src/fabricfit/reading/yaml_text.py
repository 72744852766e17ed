"""YAML, read at a bounded price, with the line that each value is on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.reading.limits import DEPTH, VALUES, check_values, refuse

__all__ = ["Lines", "parse_yaml", "plain_loader"]

Lines = dict[tuple[Any, ...], int]
"""Path of each value -> the line that it is on."""

_DEEPEST_PLACE = 20
"""Values that are deeper have the line of what they are in."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 1_000
"""Characters of a number at most, with its signs, separators and zeros."""

_MERGE = "tag:yaml.org,2002:merge"


def plain_loader() -> Any:
    """Return a new class of loaders that make plain values only, to which constructors may be added."""
    import yaml

    return type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})


def parse_yaml(text: str, name: str, loader: Any = None) -> tuple[Any, Lines]:
    """Return what YAML says, and the path of each value -> the line that it is on.

    Parameters
    ----------
    text
        The YAML.
    name
        What it is called in messages, such as its file.
    loader
        A class from :func:`plain_loader`; plain values without further ones by default.

    Raises
    ------
    InvalidInputError
        It is no YAML, or several documents; a mapping names something twice; something holds itself; it is
        too deep, or has too many values, those that aliases stand for counted each time; or it holds a number
        or a text that cannot be worked with.
    """
    import yaml

    kind = loader or plain_loader()
    try:
        _check_bounds(yaml.parse(text, Loader=kind), name)
        reader = kind(text)
        try:
            node = reader.get_single_node()
            if node is None:
                return None, {}
            _check_names(node, reader, name)
            lines = dict(_find_lines(node, ()))
            values = _construct(node, reader, name)
        finally:
            reader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise refuse(name, "YAML", problem, mark.line + 1 if mark else None) from error
    check_values(values, name, "YAML")
    return values, lines


@dataclass
class _Open:
    """A list or mapping that has begun: its anchor, and what is known of its contents."""

    anchor: str | None
    values: int = 1
    depth: int = 1


def _check_bounds(events: Iterable[Any], name: str) -> None:
    """Refuse a text whose values, with aliases followed, are too deep, too many, or without end."""
    held: dict[str, tuple[int, int]] = {}
    stack = [_Open(None)]
    for event in events:
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        size, depth = 1, 0
        if kind in ("SequenceStartEvent", "MappingStartEvent"):
            stack.append(_Open(anchor))
            if len(stack) - 1 > DEPTH:
                raise _too_deep(name, event)
            continue
        if kind in ("SequenceEndEvent", "MappingEndEvent"):
            closed = stack.pop()
            anchor, size, depth = closed.anchor, closed.values, closed.depth
        elif kind == "AliasEvent":
            if any(each.anchor == anchor for each in stack):
                raise _refuse_at(event, name, f"{anchor!r} holds itself")
            size, depth = held.get(str(anchor), (1, 0))
        elif kind != "ScalarEvent":
            continue
        if anchor is not None and kind != "AliasEvent":
            held[anchor] = size, depth
        outer = stack[-1]
        outer.values += size
        outer.depth = max(outer.depth, depth + 1)
        if outer.values > VALUES:
            said = f"there are more than {VALUES:,} values, if its aliases are followed"
            raise _refuse_at(event, name, said)
        if len(stack) - 1 + depth > DEPTH:
            raise _too_deep(name, event)


def _too_deep(name: str, event: Any) -> InvalidInputError:
    return _refuse_at(event, name, f"lists and mappings are more than {DEPTH} deep")


def _refuse_at(place: Any, name: str, said: str) -> InvalidInputError:
    """Build the error for an event or a node."""
    return refuse(name, "YAML", said, place.start_mark.line + 1)


def _check_names(root: Any, reader: Any, name: str) -> None:
    """Refuse mappings that name something twice, and scalars that are not what their tags say."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        if isinstance(node.value, str):
            _check_scalar(node, name)
            continue
        is_mapping = type(node).__name__ == "MappingNode"
        names: set[Any] = set()
        for each in node.value:
            inner = each if is_mapping else (each,)
            if is_mapping:
                key = _name_of(each[0], reader, name)
                if key in names:
                    raise _refuse_at(each[0], name, f"{str(key)[:100]!r} is there twice")
                names.add(key)
            for held in inner:
                if id(held) not in seen:  # what several aliases stand for
                    seen.add(id(held))
                    waiting.append(held)


def _check_scalar(node: Any, name: str) -> None:
    """Refuse a number without end; the price of reading it grows with the square of its length."""
    if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
        raise _refuse_at(node, name, f"a number has {len(node.value):,} digits")


def _name_of(key: Any, reader: Any, name: str) -> Any:
    """Return the name of an entry of a mapping."""
    if key.tag == _MERGE:
        return "<<"
    if not isinstance(key.value, str):
        raise _refuse_at(key, name, "a list or a mapping cannot be a name")
    _check_scalar(key, name)
    return _construct(key, reader, name)


def _construct(node: Any, reader: Any, name: str) -> Any:
    """Return what a node describes."""
    try:
        return reader.construct_document(node)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What constructors of dates, numbers and the like make of texts that are none.
        failing = _find_failing(node, reader)
        kind = failing.tag.rpartition(":")[2]
        said = f"{str(failing.value)[:100]!r} is no {kind}"
        raise _refuse_at(failing, name, said) from error


def _find_failing(root: Any, reader: Any) -> Any:
    """Return the first scalar that nothing can be made of; the root, if there is none."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node.value, str):
            try:
                reader.construct_document(node)
            except Exception:  # whatever it was
                return node
        else:
            inner = [each if isinstance(each, tuple) else (each,) for each in node.value]
            waiting += [each for held in reversed(inner) for each in reversed(held)]
    return root


def _find_lines(node: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Yield the path of each value, and the line of its name or, in a list, of itself."""
    if not place:
        yield place, node.start_mark.line + 1
    if isinstance(node.value, str) or len(place) > _DEEPEST_PLACE:
        return
    for index, each in enumerate(node.value):
        key, value = each if isinstance(each, tuple) else (None, each)
        inner = (*place, index if key is None else key.value)
        yield inner, (value if key is None else key).start_mark.line + 1
        yield from _find_lines(value, inner)
