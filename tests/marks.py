"""Marks that tests of several packages share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["ON_ONE_BACKEND", "WAIT_ELSEWHERE", "first_quick"]

WAIT_ELSEWHERE = (
    [] if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else [pytest.mark.slow]
)
"""Marks of tests that do not depend on the backend: on others than the first they wait for all tests."""

ON_ONE_BACKEND = [pytest.mark.keras, *WAIT_ELSEWHERE]
"""Marks of such tests that need Keras."""


def first_quick(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return values of a parameter of which all but the first few wait for all tests."""
    return [
        value if place < quick else pytest.param(value, marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]
