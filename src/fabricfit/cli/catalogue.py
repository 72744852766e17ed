"""Commands that need no model: ``devices``, ``schema`` and ``demo``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fabricfit.cli.completion import complete_devices
from fabricfit.cli.options import AsJson
from fabricfit.cli.output import print_json, print_text
from fabricfit.errors import InvalidInputError

__all__ = ["demo", "devices", "schema"]


def devices(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Only those whose board or part contains this.", autocompletion=complete_devices
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List the boards and parts whose resources are known."""
    from fabricfit.hardware import devices as known_devices
    from fabricfit.tables import TextTable

    wanted = (name or "").lower()
    found = [
        each
        for each in known_devices()
        if wanted in each.name.lower() or wanted in each.part.lower()
    ]
    if not found:
        raise InvalidInputError(
            f"no device has {name!r} in its name. 'fabricfit devices' lists all of them."
        )
    if as_json:
        print_json([vars(each) for each in found])
        return 0
    header = ["device", "part", "family", "DSP", "BRAM36", "URAM", "LUT", "FF"]
    rows = [
        [
            each.name, each.part, each.family, f"{each.dsp:,}", f"{each.bram36:,g}", f"{each.uram:,}",
            f"{each.lut:,}", f"{each.ff:,}",
        ]
        for each in found
    ]  # fmt: skip
    print_text("\n".join(TextTable(header, rows, names=frozenset((0, 1, 2))).lines()))
    return 0


def schema() -> int:
    """Print the JSON Schema of the file that describes a run."""
    from fabricfit.cli import configuration

    print_json(configuration.schema())
    return 0


def demo(context: typer.Context) -> int:
    """Train a jet tagger, fit it to a board, and show the result."""
    from fabricfit.demo import main

    try:
        return main(context.args)
    except SystemExit as ended:
        return int(ended.code or 0)
