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
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"error: the command line needs {error.name!r}, which is not installed. "
            "Install it with: pip install 'fabricfit[cli]'\n"
        )
        return 2
    return run(arguments)
