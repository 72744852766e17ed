"""What is the caller's and changes as a run goes on, callbacks and streams: saved with each checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from fabricfit.optimization.identity import read_beginning
from fabricfit.samples import Dataset
from fabricfit.training.callback_states import CallbackStates

__all__ = ["CallersState"]

logger = logging.getLogger(__name__)


class CallersState:
    """States of callbacks, and how far streams have been drawn; false where there are none.

    Parameters
    ----------
    callbacks
        The caller's Keras callbacks.
    data
        Samples that a run draws.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], data: Sequence[Dataset]
    ) -> None:
        self._callbacks, self._number = CallbackStates(callbacks), len(callbacks)
        self._streams = [each for each in data if each.size is None]
        self._beginnings = [read_beginning(each) for each in self._streams]
        self.remarks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._number or self._streams)

    @property
    def is_whole(self) -> bool:
        """Whether the states of all callbacks can be read."""
        return not self._callbacks.unreadable

    def pack(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {
            "callbacks": self._callbacks.pack(),
            "streams": [stream.passes for stream in self._streams],
            "beginnings": self._beginnings,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Give callbacks their states, and draw from streams what was drawn."""
        self._callbacks.restore(state["callbacks"])
        self.remarks = tuple(self._list_differences(state))
        for stream, passes in zip(self._streams, state["streams"], strict=True):
            again = len(passes) - len(stream.passes)
            if again > 0:
                logger.info(
                    "drawing %d passes over the %s data again, as the run has", again, stream.name
                )
            stream.replay(passes)

    def _list_differences(self, state: dict[str, Any]) -> Iterator[str]:
        lost = self._callbacks.list_lost(state["callbacks"])
        if lost:
            yield (
                f"the run was resumed, and its callbacks ({', '.join(lost)}) hold what cannot be read: it "
                "went on at the start of a stretch of training, and may differ from an unbroken run. Methods "
                "get_state and set_state of a callback prevent that"
            )
        pairs = zip(self._streams, self._beginnings, state["beginnings"], strict=True)
        for stream, here, there in pairs:
            if here != there:
                yield (
                    f"the run was resumed, and the {stream.name} data shuffle themselves otherwise than "
                    "before: it may differ from an unbroken run. A seed, in a new process, prevents that"
                )
