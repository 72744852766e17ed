"""Showing a run's progress: the library's log lines, on the standard error stream, while it lasts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["shown"]


@contextmanager
def shown(logger: logging.Logger | None) -> Iterator[None]:
    """Show a logger's messages from INFO on inside the block, and leave the logger as it was."""
    if logger is None:
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, level or logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
