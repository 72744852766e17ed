"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Clock", "HlsConfig", "Interval", "Latency", "ModelFile", "Plugins", "Quiet"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Module to import first, such as qkeras or hgq."),
]
ModelFile = Annotated[Path, typer.Argument(help="A .keras file.", metavar="MODEL")]
HlsConfig = Annotated[
    Path | None,
    typer.Option(
        "--hls-config", help="hls4ml's configuration, a .json or YAML file, or a project."
    ),
]
Clock = Annotated[
    str | None,
    typer.Option("--clock", help="Clock, such as 200MHz, 5ns, or its period in nanoseconds."),
]
Latency = Annotated[
    str | None,
    typer.Option("--latency", help="Longest time from a sample to its result, such as 1us."),
]
Interval = Annotated[
    str | None, typer.Option("--interval", help="Longest time between two samples, such as 25ns.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
