"""What a shell offers for the values of options; each imports its lists when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

__all__ = [
    "complete_backends",
    "complete_bindings",
    "complete_devices",
    "complete_parts",
    "complete_setting",
    "complete_tools",
]

_Completion = Callable[[str], list[str]]


def _begin(names: Iterable[str], incomplete: str) -> list[str]:
    """Return the names that begin like a word, in its case, each once."""
    found = []
    for name in dict.fromkeys(names):
        spellings = (name, name.lower(), name.upper())
        found += [each for each in spellings if each.startswith(incomplete)][:1]
    return found


def complete_devices(incomplete: str) -> list[str]:
    """Return the boards whose names begin with a word, and the parts."""
    from fabricfit.hardware import devices

    known = devices()
    return _begin([each.name for each in known] + [each.part for each in known], incomplete)


def complete_parts(incomplete: str) -> list[str]:
    """Return the parts whose numbers begin with a word."""
    from fabricfit.hardware import devices

    return _begin((each.part for each in devices()), incomplete)


def complete_tools(incomplete: str) -> list[str]:
    """Return the HLS compilers whose names begin with a word."""
    from fabricfit.hardware.tools import tools

    names = (name.replace(" HLS ", "-").lower() for name in tools())  # of one word, for the shell
    return _begin(names, incomplete)


def complete_backends(incomplete: str) -> list[str]:
    """Return hls4ml's backends whose names begin with a word."""
    from fabricfit.hls4ml.backends import BACKENDS

    return _begin(BACKENDS, incomplete)


def complete_bindings(incomplete: str) -> list[str]:
    """Return the bindings that begin with a word."""
    from fabricfit.hardware.targets import BINDINGS

    return _begin(BINDINGS, incomplete)


def complete_setting(name: str) -> _Completion:
    """Return the completion of a setting of the file that describes a run, one of a few words.

    Parameters
    ----------
    name
        The setting, such as ``'precision'``.
    """

    def complete(incomplete: str) -> list[str]:
        from fabricfit.cli.configuration import RunConfig

        return _begin(get_args(RunConfig.model_fields[name].annotation), incomplete)

    return complete
