"""Marks that tests of several packages share."""

from __future__ import annotations

import os

import pytest

__all__ = ["ON_ONE_BACKEND", "WAIT_ELSEWHERE"]

WAIT_ELSEWHERE = (
    [] if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else [pytest.mark.slow]
)
"""Marks of tests that do not depend on the backend: on others than the first they wait for all tests."""

ON_ONE_BACKEND = [pytest.mark.keras, *WAIT_ELSEWHERE]
"""Marks of such tests that need Keras."""
