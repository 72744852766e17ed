"""What a run's folder says beside its report, checked before a page is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, RunDirectoryError
from fabricfit.reading import RECORD, parse_json, read_text
from fabricfit.reporting.plain import (
    read_amounts,
    read_mapping,
    read_number,
)
from fabricfit.reporting.plain import (
    read_text as read_name,
)
from fabricfit.run import load_state

_END_OF_YEAR_9999 = 253_402_300_799
"""Seconds since 1970; dates end there."""

__all__ = ["check_manifest", "check_verification", "read_json", "read_maps"]


def read_json(path: Path, needed: bool = True) -> Any:
    """Return the object in a JSON file; None if it is not there and need not be.

    Raises
    ------
    RunDirectoryError
        It is missing or damaged.
    """
    if not needed and not path.is_file():
        return None
    try:
        found = parse_json(read_text(path, RECORD), str(path), finite=False)
    except InvalidInputError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RunDirectoryError(f"{path} must hold a JSON object. Received: {type(found).__name__}")
    return found


def read_maps(path: Path) -> dict[str, np.ndarray]:
    """Return the treatment of the weights of each kernel.

    Raises
    ------
    RunDirectoryError
        The file is damaged, or holds something else.
    """
    found = load_state(path)
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and _is_map(each) for name, each in found.items()
    ):
        raise RunDirectoryError(f"{path} does not hold maps of weights.")
    return found


def _is_map(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.ndim == 2
        and value.dtype.kind in "iu"
        and value.size > 0
    )


def check_manifest(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a manifest, if what a page shows of it is there.

    Raises
    ------
    KeyError, TypeError, ValueError
        Something is missing, or of another kind.
    """
    for name in ("settings", "goal", "fingerprint", "environment"):
        read_mapping(values[name])
    read_mapping(values["environment"]["versions"])
    if values.get("model") is not None:
        read_name(values["model"])
    begun = values.get("begun")
    if begun is not None and not 0 <= read_number(begun) <= _END_OF_YEAR_9999:
        raise ValueError(f"begun must be a time in seconds since 1970. Received: {begun!r}")
    if values["goal"].get("budget") is not None:
        read_name(values["goal"]["budget"])
    return values


def check_verification(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the outcome of a verification, if what a page shows of it is there.

    Raises
    ------
    KeyError, TypeError, ValueError
        Something is missing, or of another kind.
    """
    if not isinstance(values["passed"], bool):
        raise TypeError(f"passed must be true or false. Received: {values['passed']!r}")
    read_name(values["text"])
    if (rtl := values.get("rtl")) is None:
        return values
    design, cells = read_mapping(rtl["design"]), rtl["cells"]
    numbers = [rtl["samples"], *(design[name] for name in ("latency", "lut", "flip_flops"))]
    if cells is not None:
        numbers += [read_mapping(cells)[name] for name in ("lut", "ff", "dsp")]
    read_amounts(numbers)
    if len(read_amounts(design["lut_bars"])) != 2:
        raise ValueError("there must be two ends of an error bar")
    return values
