"""Task of a contestant: the work that is measured, and the figures of its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["NoNumberError", "Task"]


class NoNumberError(Exception):
    """There are no numbers to report; the message gives the reason."""


def _report_nothing(outcome: Any) -> dict[str, Any]:
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
        means that the outcome is not the requested one.
    """

    work: Callable[[], Any]
    inspect: Callable[[Any], dict[str, Any]] = _report_nothing
