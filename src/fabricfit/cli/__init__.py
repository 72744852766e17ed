"""The command line: ``fabricfit``, or ``python -m fabricfit``."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit code.

    Parameters
    ----------
    arguments
        Words of the command; those of the process by default.
    """
    from fabricfit.cli.app import run

    return run(arguments)
