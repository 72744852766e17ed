"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "HlsConfig", "ModelFile", "Plugins", "Quiet"]

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
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
