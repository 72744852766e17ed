"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AsJson",
    "HlsConfig",
    "HlsConfigs",
    "ModelFile",
    "Plugins",
    "Quiet",
    "WeightsFile",
    "drop_missing",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Module to import first, such as qkeras or hgq."),
]
ModelFile = Annotated[
    Path,
    typer.Argument(
        help="A .keras or .h5 file, a .json with its weights, a SavedModel or an hls4ml project.",
        metavar="MODEL",
    ),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", help="Weights of a .json model, where they are not beside it."),
]
HlsConfig = Annotated[
    Path | None,
    typer.Option(
        "--hls-config", help="hls4ml's configuration, a .json or YAML file, or a project."
    ),
]
HlsConfigs = Annotated[
    list[Path] | None,
    typer.Option(
        "--hls-config",
        help="hls4ml's configuration, a .json or YAML file, or a project; several side by side, each "
        "with an option.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def drop_missing(**values: Any) -> dict[str, Any]:
    """Return the values that were given."""
    return {name: value for name, value in values.items() if value is not None}
