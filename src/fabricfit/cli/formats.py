"""The command ``calibrate``: number formats from data, as hls4ml's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fabricfit.cli.options import AsJson, HlsConfig, ModelFile, Plugins
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json

__all__ = ["calibrate"]


def calibrate(
    model: ModelFile,
    data: Annotated[
        str, typer.Option(help="Samples: an .npz, .h5 or .parquet file, or module:function.")
    ],
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
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Find number formats, from data, in which a model loses nothing."""
    import fabricfit
    from fabricfit.cli.configuration import DataConfig, read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_data, load_model

    if output is not None:
        check_new_file(output, (".json",))
    import_plugins(plugin or ())
    config = None if hls_config is None else read_hls4ml(str(hls_config))
    training, validation = load_data(DataConfig(source=data))
    given: Any = _join(validation, training)
    found = fabricfit.calibrate(
        load_model(str(model)),
        given if loss is not None else given[0],
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


def _join(validation: tuple[Any, ...], training: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return all samples, those for validation first: the first ones are measured, ranges are of all."""
    import keras
    import numpy as np

    joined: tuple[Any, ...] = keras.tree.map_structure(
        lambda *parts: np.concatenate(parts), validation, training
    )
    return joined
