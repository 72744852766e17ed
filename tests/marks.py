"""Marks that tests of several packages share."""

from __future__ import annotations

import os

import pytest

__all__ = ["ON_ONE_BACKEND"]

ON_ONE_BACKEND = [
    pytest.mark.keras,
    *([] if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else [pytest.mark.slow]),
]
"""Tests that run on every backend, and do not depend on which it is: on others they wait for all tests."""
