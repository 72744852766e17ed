"""Names in an hls4ml configuration, which hls4ml compares without regard to case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["find_key"]


def find_key(sections: Mapping[str, Any] | None, name: str) -> str | None:
    """Return a name as the keys of a section spell it, or None where there is no such key."""
    wanted = name.lower()
    return next((key for key in sections or {} if str(key).lower() == wanted), None)
