"""Signals that ask a process to end, as interruptions: what they end is saved, and can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Any

__all__ = [
    "InterruptedCommandError",
    "TerminatedError",
    "causes_of",
    "exit_code_of",
    "find_interruption",
    "hand_on_interruptions",
    "interruptible",
]

_NAMES = ("SIGTERM", "SIGHUP")


class TerminatedError(KeyboardInterrupt):
    """A signal has asked the process to end.

    Parameters
    ----------
    number
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class InterruptedCommandError(Exception):
    """An interruption on its way through Typer, which would end the process without a word."""


def hand_on_interruptions(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command whose interruptions reach whoever calls Typer."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except KeyboardInterrupt as error:
            raise InterruptedCommandError from error

    return run


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt the block, as Ctrl-C does, where nobody else has a say in them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TerminatedError(number)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    ours = [each for each in numbers if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error came from, the nearest cause first."""
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def find_interruption(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interruption that an error came from, if it did."""
    return next((each for each in causes_of(error) if isinstance(each, KeyboardInterrupt)), None)


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of an interruption: 128 and the number of its signal."""
    return 128 + (error.number if isinstance(error, TerminatedError) else signal.SIGINT)
