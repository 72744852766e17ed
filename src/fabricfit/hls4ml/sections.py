"""Names in an hls4ml configuration, which hls4ml compares without regard to case, and where its IOType is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabricfit.description.strategies import canonical_strategy
from fabricfit.hls4ml.vocabulary import SOFTMAX_STRATEGIES

__all__ = ["find_key", "own_strategy", "stated_io_type"]


def find_key(sections: Mapping[str, Any] | None, name: str) -> str | None:
    """Return a name as the keys of a section spell it, or None where there is no such key."""
    wanted = name.lower()
    return next((key for key in sections or {} if str(key).lower() == wanted), None)


def own_strategy(config: Mapping[str, Any], name: str, kind: str) -> str:
    """Return the strategy that a section by name, else by type, states; empty where none does.

    Parameters
    ----------
    config
        A configuration that is plain data already.
    name, kind
        What hls4ml calls what it builds, and its type.
    """
    inner = config.get("HLSConfig", config)
    for sections, wanted in ((inner.get("LayerName"), name), (inner.get("LayerType"), kind)):
        key = find_key(sections, wanted)
        section = (sections or {}).get(key) if key is not None else None
        if section and section.get("Strategy"):
            stated = str(section["Strategy"])
            known = stated.lower() not in SOFTMAX_STRATEGIES
            return canonical_strategy(stated) if known else stated
    return ""


def stated_io_type(config: Mapping[str, Any], default: Any = None) -> Any:
    """Return the ``'IOType'`` that a configuration or a whole project's states; the default without one."""
    for section in (config, config.get("HLSConfig") or {}):
        if section.get("IOType") is not None:
            return section["IOType"]
    return default
