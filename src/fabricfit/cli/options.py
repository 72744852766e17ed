"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fabricfit.errors import InvalidInputError

__all__ = [
    "AsJson",
    "Bram36",
    "Clock",
    "Dsp",
    "Ff",
    "HlsConfig",
    "Interval",
    "Latency",
    "Lut",
    "Margin",
    "MemoryGib",
    "ModelFile",
    "Plugins",
    "Quiet",
    "WeightsFile",
    "collect_budget",
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
Dsp = Annotated[float | None, typer.Option("--dsp", help="DSP blocks that may be used.")]
Bram36 = Annotated[
    float | None, typer.Option("--bram36", help="Block RAMs of 36 kbit that may be used.")
]
Lut = Annotated[float | None, typer.Option("--lut", help="LUTs that may be used.")]
Ff = Annotated[float | None, typer.Option("--ff", help="Flip-flops that may be used.")]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin", help="Part of the error bars that must fit, from 0 to 1 for their upper ends."
    ),
]
MemoryGib = Annotated[
    float | None,
    typer.Option(
        "--memory-gib",
        help="Samples of more than so many GiB stay in their files, read block by block; 1 by default.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def collect_budget(
    device: str | None, fraction: float | None, **limits: float | str | None
) -> dict[str, Any]:
    """Return what options say of a budget, as the section ``budget`` of a configuration does.

    Raises
    ------
    InvalidInputError
        There is a fraction of no device.
    """
    if fraction is not None and device is None:
        raise InvalidInputError("--fraction needs a --device.")
    return drop_missing(device=device, fraction=fraction, **limits)


def drop_missing(**values: Any) -> dict[str, Any]:
    """Return the values that were given."""
    return {name: value for name, value in values.items() if value is not None}
