"""JSON, read at a bounded price."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from fabricfit.reading.limits import DEPTH, DIGITS, check_values, refuse

__all__ = ["parse_json"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]', re.DOTALL)


class _RepeatedError(ValueError):
    """An object names something twice."""


class _NotFiniteError(ValueError):
    """A number that JSON does not have."""


def parse_json(
    text: str | bytes,
    name: str,
    *,
    finite: bool = True,
    each_object: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Return what JSON says.

    Parameters
    ----------
    text
        The JSON; bytes are UTF-8.
    name
        What it is called in messages, such as its file.
    finite
        Whether NaN and infinity, which Python writes and JSON does not have, are refused.
    each_object
        Makes something else of each object.

    Raises
    ------
    InvalidInputError
        It is no JSON; an object names something twice; it is too deep; or it holds a number or a
        text that cannot be worked with.
    """

    def build(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _RepeatedError
        return found if each_object is None else each_object(found)

    def read_float(digits: str) -> float:
        if not math.isfinite(number := float(digits)):
            raise _NotFiniteError(digits[:20])
        return number

    def read_constant(digits: str) -> float:
        if finite:
            raise _NotFiniteError(digits)
        return float(digits.replace("Infinity", "inf"))

    def read_integer(digits: str) -> int:
        if len(digits) > DIGITS:
            raise ValueError(f"an integer has {len(digits):,} digits")
        return int(digits)

    try:
        if isinstance(text, bytes | bytearray):
            text = text.decode("utf-8-sig")
        found = json.loads(
            text,
            object_pairs_hook=build,
            parse_float=read_float if finite else None,
            parse_constant=read_constant,
            parse_int=read_integer,
        )
    except _RepeatedError:
        said, line = _find_repeated(str(text))
        raise refuse(name, "JSON", said, line) from None
    except _NotFiniteError as error:
        raise refuse(name, "JSON", f"{error} is no finite number") from None
    except json.JSONDecodeError as error:
        raise refuse(name, "JSON", f"{error.msg}, column {error.colno}", error.lineno) from error
    except RecursionError:
        raise refuse(name, "JSON", f"lists and objects are more than {DEPTH} deep") from None
    except ValueError as error:
        raise refuse(name, "JSON", str(error)) from error
    check_values(found, name, "JSON")
    return found


def _find_repeated(text: str) -> tuple[str, int | None]:
    """Return what is said of the first name that an object has twice, and its line."""
    names: list[set[str] | None] = []
    tokens = iter(_TOKEN.finditer(text))
    before: re.Match[str] | None = None
    for found in tokens:
        match found[0]:
            case "{":
                names.append(set())
            case "[":
                names.append(None)
            case "}" | "]":
                names and names.pop()
            case ":" if before is not None and names and (held := names[-1]) is not None:
                key = json.loads(before[0])
                if key in held:
                    line = text.count("\n", 0, before.start()) + 1
                    return f"{key[:100]!r} is there twice", line
                held.add(key)
        before = found if found[0].startswith('"') else None
    return "a name is there twice", None
