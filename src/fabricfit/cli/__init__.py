"""The command line: ``fabricfit``, or ``python -m fabricfit``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit code.

    Parameters
    ----------
    arguments
        Words of the command; those of the process by default.
    """
    try:
        from fabricfit.cli.app import run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted before a run began: there is nothing to resume\n")
        return 130
    return run(arguments)
