"""Names in an hls4ml configuration, which hls4ml compares without regard to case, and where its IOType is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["find_key", "stated_io_type"]


def find_key(sections: Mapping[str, Any] | None, name: str) -> str | None:
    """Return a name as the keys of a section spell it, or None where there is no such key."""
    wanted = name.lower()
    return next((key for key in sections or {} if str(key).lower() == wanted), None)


def stated_io_type(config: Mapping[str, Any]) -> Any:
    """Return the ``'IOType'`` that a configuration or a whole project's states; None without one."""
    inner = config.get("HLSConfig") or {}
    return config.get("IOType") or inner.get("IOType") or None
