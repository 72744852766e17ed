"""What a contestant hands to the process that measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["NoNumberError", "Task"]


class NoNumberError(Exception):
    """There is nothing to report; the message says why."""


def _nothing(outcome: Any) -> dict[str, Any]:
    """Report no figures besides the time and the memory."""
    return {}


@dataclass(frozen=True)
class Task:
    """Work that is ready to start: its libraries are imported, its data and models loaded.

    Parameters
    ----------
    work
        What is measured.
    inspect
        Turns what ``work`` returned into figures, outside of what is measured. An exception in it
        says that the outcome is not what was asked for.
    """

    work: Callable[[], Any]
    inspect: Callable[[Any], dict[str, Any]] = _nothing
