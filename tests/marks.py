"""Marks that tests of several packages share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["ON_ONE_BACKEND", "WAIT_ELSEWHERE", "first_quick", "on_one_backend"]

WAIT_ELSEWHERE = (
    [] if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else [pytest.mark.slow]
)
"""Marks of tests that do not depend on the backend: on others than the first they wait for all tests."""

ON_ONE_BACKEND = [pytest.mark.keras, *WAIT_ELSEWHERE]
"""Marks of such tests that need Keras."""


def on_one_backend(test: Any) -> Any:
    """Mark a test that waits on other backends than the first."""
    for mark in WAIT_ELSEWHERE:
        test = mark(test)
    return test


def first_quick(values: Iterable[Any], quick: int = 1, elsewhere: int | None = None) -> list[Any]:
    """Return values of a parameter of which all but the first few wait for all tests.

    Parameters
    ----------
    values
        The values.
    quick
        So many do not wait.
    elsewhere
        The same on other backends than the first.
    """
    few = elsewhere if WAIT_ELSEWHERE and elsewhere is not None else quick
    return [
        value if place < few else pytest.param(value, marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]
