"""Every error that fabricfit raises on purpose, under one root.

Each class is also the built-in type that a caller would expect, so that ``except ValueError`` keeps
working and ``except FabricFitError`` catches all of them. A message names the argument or layer, says
what was expected, shows what was received and what to do about it.
"""

from __future__ import annotations

import difflib
import importlib
import reprlib
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = [
    "FabricFitError",
    "InfeasibleError",
    "InvalidInputError",
    "InvalidTypeError",
    "MissingExtraError",
    "RunDirectoryError",
    "TimeLimitError",
    "ask_for_nearest",
    "code_of_others",
    "quoted_error",
    "require",
    "spell",
    "unknown_name",
    "warn_caller",
]


class FabricFitError(Exception):
    """Root of all errors raised by fabricfit."""


class InvalidInputError(FabricFitError, ValueError):
    """A value that cannot be worked with: out of range, wrong shape, not finite, unknown name."""


class InvalidTypeError(FabricFitError, TypeError):
    """An object of a kind that is not accepted in this place."""


class InfeasibleError(FabricFitError, ValueError):
    """A sparsity or budget that no choice of groups can meet."""


class MissingExtraError(FabricFitError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class RunDirectoryError(FabricFitError, OSError):
    """A directory that a run cannot, or must not, write to."""


class TimeLimitError(FabricFitError, TimeoutError):
    """A tool that took longer than it was allowed to."""


class _Speller(reprlib.Repr):
    """Shortens what is long, nested or numerous; the rest is spelled by ``repr``."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxstring = self.maxother = _LONGEST
        self.maxlong = 60

    def repr_int(self, x: int, level: int) -> str:
        """Spell a number, of so many digits that Python itself may refuse to."""
        if abs(x) < 10**self.maxlong:
            return repr(int(x))
        return f"{'-' if x < 0 else ''}2**{x.bit_length() - 1} or more"


_LONGEST = 240
"""Letters of a value in a message."""

_SPELLER = _Speller()


def spell(value: object) -> str:
    """Return a value as a message shows it: on one line, never long, whatever its own ``repr`` does.

    Examples
    --------
    >>> spell("x" * 10**6)[:12], spell(10**5000), spell([0.5, None])
    ("'xxxxxxxxxxx", '2**16609 or more', '[0.5, None]')
    """
    try:
        # Subclasses of plain types by their own repr, of which reprlib knows the name alone.
        text = _SPELLER.repr(value)
    except Exception:  # whatever a class of the caller's raises
        text = f"an object of {type(value).__module__}.{type(value).__qualname__}"
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}…{text[-20:]}"


def quoted_error(error: BaseException) -> str:
    """Return what an error of somebody else's says, on one line, and not long."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # whatever a class of the caller's raises
        said = spell(error)
    said = said.encode("utf-8", "backslashreplace").decode("utf-8")
    return said if len(said) <= 2 * _LONGEST else f"{said[: 2 * _LONGEST]}…"


@contextmanager
def code_of_others(what: str) -> Iterator[None]:
    """Turn what code of the caller's raises into an error that says whose it is, with that as its cause.

    Parameters
    ----------
    what
        What it is, as the subject of a sentence ("criterion 'own'").

    Raises
    ------
    InvalidInputError
        It raises something, or ends the program.
    """
    try:
        yield
    except FabricFitError:
        raise
    except (Exception, SystemExit) as error:  # whatever the code raises
        raise InvalidInputError(
            f"{what} raised {type(error).__name__}: {quoted_error(error)}"
        ) from error


def unknown_name(argument: str, received: object, known: Iterable[str]) -> InvalidInputError:
    """Build the error for a name that is none of the known ones.

    Parameters
    ----------
    argument
        Name of the argument as the caller wrote it.
    received
        What was passed.
    known
        The names that would have been accepted.
    """
    known = list(known)
    names = ", ".join(repr(name) for name in known)
    return InvalidInputError(
        f"{argument} must be one of {names}. Received: {argument}={spell(received)}"
        f"{ask_for_nearest(received, known)}"
    )


def ask_for_nearest(received: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'this'?"`` for the known name nearest to a misspelt one; '' if none is near.

    Parameters
    ----------
    received, known
        As for :func:`unknown_name`; case does not count.
    """
    if not isinstance(received, str) or len(received) > _LONGEST:
        return ""
    spelled = {str(name).lower(): str(name) for name in known}
    found = difflib.get_close_matches(received.lower(), spelled, n=1)
    return f". Did you mean {spelled[found[0]]!r}?" if found else ""


def require(module: str, extra: str, purpose: str) -> ModuleType | Any:
    """Import an optional dependency where it is used.

    Parameters
    ----------
    module
        Dotted name of the module to import.
    extra
        The extra of fabricfit that installs it.
    purpose
        What it is needed for, as the subject of a sentence ("The Bayesian tuner").

    Raises
    ------
    MissingExtraError
        The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{purpose} needs {error.name or module!r}, which is not installed. "
            f"Install it with: pip install 'fabricfit[{extra}]'"
        ) from error


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller's own that led here, however many calls inside the package lie between.

    Parameters
    ----------
    message, category
        As for :func:`warnings.warn`.
    """
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        f"{package}."
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
