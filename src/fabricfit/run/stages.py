"""Progress of a long stage in the log: k of n, and the time left."""

from __future__ import annotations

import logging
import threading
import time

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 10.0


class Progress:
    """Counts what is done, and logs it every ten seconds; from several threads, too.

    Parameters
    ----------
    done
        What has been done to each: ``"simulated"``.
    total
        How many there are.
    things
        What they are called: ``"samples"``.
    every
        Seconds between two messages.
    """

    def __init__(self, done: str, total: int, things: str, every: float = _EVERY_SECONDS) -> None:
        self._done, self._total, self._things, self._every = done, total, things, every
        self._count = 0
        self._begun = self._said = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int = 1) -> None:
        """Note that so many more are done."""
        with self._lock:
            self._count += count
            now = time.monotonic()
            if now - self._said < self._every or self._count >= self._total:
                return
            self._said = now
            left = (now - self._begun) / self._count * (self._total - self._count)
            logger.info(
                "%s %d of %d %s, about %.0f s left",
                self._done, self._count, self._total, self._things, left,
            )  # fmt: skip
