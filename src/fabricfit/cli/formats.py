"""The command ``calibrate``: number formats from data, as hls4ml's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fabricfit.cli.options import AsJson, HlsConfig, MemoryGib, ModelFile, Plugins, WeightsFile
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json

__all__ = ["calibrate"]


def calibrate(
    model: ModelFile,
    data: Annotated[
        str,
        typer.Option(
            help="Samples: an .npz, .h5 or .parquet file, a folder of .npy files, or module:function."
        ),
    ],
    weights: WeightsFile = None,
    hls_config: HlsConfig = None,
    output: Annotated[
        Path | None, typer.Option(help="The .json file to write the configuration to.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Keras' name of the loss. Without it, outputs must stay as they are."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Keras' name of the metric.")] = None,
    samples: Annotated[int, typer.Option(help="Number of samples to measure on.")] = 2048,
    tolerance: Annotated[
        float, typer.Option(help="Part of its standard error by which the loss may rise.")
    ] = 0.1,
    margin: Annotated[int, typer.Option(help="Integer bits more than the data need.")] = 0,
    overflow: Annotated[
        str, typer.Option(help="What larger numbers than those of the data do: saturate or wrap.")
    ] = "saturate",
    memory_gib: MemoryGib = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Find number formats, from data, in which a model loses nothing."""
    import fabricfit
    from fabricfit.cli.configuration import parse_data, read_hls4ml
    from fabricfit.cli.inputs import import_plugins, join_samples, load_data, load_model

    if output is not None:
        check_new_file(output, (".json",))
    import_plugins(plugin or ())
    config = None if hls_config is None else read_hls4ml(str(hls_config))
    training, validation = load_data(parse_data(data, memory_gib))
    found = fabricfit.calibrate(
        load_model(str(model), weights),
        join_samples(validation, training, targets=loss is not None),
        config,
        loss=loss,
        metric=metric,
        samples=samples,
        tolerance=tolerance,
        margin=margin,
        overflow=overflow,
    )
    if output is not None:
        write_new_json(output, found.config)
    if as_json:
        print_json(found.to_dict())
    else:
        print_text(str(found))
    return 0 if found.lossless else 4
