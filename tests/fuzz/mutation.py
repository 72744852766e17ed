"""Bytes and values that were valid, changed at random from a seed; and what a reader may do with them."""

from __future__ import annotations

import copy
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError

__all__ = ["LONGEST_SECONDS", "ODD", "change_bytes", "change_value", "try_reader", "write_odd"]

LONGEST_SECONDS = 20.0
"""Time of the process that a reader may take for one small file, on a busy machine."""

ODD = [
    None, True, False, -1, 0, 1.5, float("nan"), float("inf"), -1e308, 1e-320, 10**400, 2**63, "x", "", "$^$",
    "\x1b[31m\n\u202e", "x" * 5000, "9" * 50, [], {}, [[]], {"a": 1}, [None], {"": {}},
]  # fmt: skip
"""Values in the place of others."""

_PIECES = [
    b"\n", b": ", b"- ", b"{", b"[", b"]", b"}", b"'", b'"', b"\t", b"\0", b"null", b"&a ", b"*a",
    b"<<: *a", b"!!bool ", b"0x", b"1e999", b"-", b"\xff", b"PK\x03\x04", b"\x93NUMPY", b"\x7f\xff\xff\xff",
]  # fmt: skip


def change_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with some of them flipped, set, taken out, doubled or cut off."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        place = draw.randrange(len(found) + 1) if found else 0
        kind = draw.randrange(7)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and place < len(found):
            found[place] = draw.randrange(256)
        elif kind == 2:
            found[place:place] = draw.choice(_PIECES)
        elif kind == 3:
            del found[place : place + draw.choice((1, 2, 8, 64))]
        elif kind == 4:
            other = draw.randrange(len(found) + 1)
            found[place:place] = found[other : other + draw.choice((1, 4, 32, 200))]
        elif kind == 5:
            size = draw.choice((2, 4, 8))
            found[place : place + size] = draw.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1)).to_bytes(
                8, "little"
            )[:size]
        elif draw.random() < 0.3:
            del found[place:]
    return bytes(found)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [above, *(place for key, each in inner for place in _places(each, (*above, key)))]


def change_value(value: Any, draw: random.Random) -> Any:
    """Return nested values of which one or several are replaced, taken out, renamed, doubled or exchanged."""
    found = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = [each for each in _places(found) if each]
        if not places:
            return draw.choice(ODD)
        place, other = draw.choice(places), draw.choice(places)
        holder = _at(found, place[:-1])
        kind = draw.random()
        if kind < 0.6:
            holder[place[-1]] = copy.deepcopy(draw.choice(ODD))
        elif kind < 0.75:
            del holder[place[-1]]
        elif kind < 0.9:
            holder[place[-1]] = copy.deepcopy(_at(found, other))
        elif isinstance(holder, dict):
            holder[draw.choice(("", "x", "\x1b[0m", "$_{", *holder))] = holder.pop(place[-1])
        else:
            holder.insert(0, holder[place[-1]])
    return found


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def write_odd(value: Any) -> Any:
    """Return values that JSON can hold, whatever they were."""
    if isinstance(value, dict):
        return {str(key): write_odd(each) for key, each in value.items()}
    if isinstance(value, list):
        return [write_odd(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def try_reader(read: Callable[[], Any], kept: Path | None, what: str) -> bool:
    """Read; return whether something was read. Anything but that and an error of our own fails the test.

    Parameters
    ----------
    read
        The reader.
    kept
        A file that the failure is to show, if there is one.
    what
        Seed of the example.
    """
    begun, accepted = time.process_time(), True
    try:
        read()
    except FabricFitError as error:
        assert str(error).strip(), f"{what}: an error without a word"
        accepted = False
    except Exception as error:
        content = "" if kept is None else repr(kept.read_bytes()[:2000])
        raise AssertionError(
            f"{what}: {type(error).__name__}: {error}\n{content}\n{traceback.format_exc()[-1500:]}"
        ) from error
    taken = time.process_time() - begun
    assert taken < LONGEST_SECONDS, f"{what}: {taken:.1f} s"
    return accepted
