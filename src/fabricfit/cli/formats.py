"""The command ``calibrate``: number formats from data, as hls4ml's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fabricfit.cli.completion import complete_setting
from fabricfit.cli.groups import SampleOptions, with_groups
from fabricfit.cli.options import AsJson, HlsConfig, ModelFile, Plugins, WeightsFile
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json
from fabricfit.errors import InvalidInputError

__all__ = ["calibrate"]


@with_groups
def calibrate(
    *,
    model: ModelFile,
    source: SampleOptions,
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
    samples: Annotated[int, typer.Option(help="Number of samples to measure on.", min=1)] = 2048,
    tolerance: Annotated[
        float, typer.Option(help="Part of its standard error by which the loss may rise.")
    ] = 0.1,
    margin: Annotated[int, typer.Option(help="Integer bits more than the data need.")] = 0,
    overflow: Annotated[
        str,
        typer.Option(
            help="What larger numbers than those of the data do: saturate or wrap.",
            autocompletion=complete_setting("overflow"),
        ),
    ] = "saturate",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Find number formats, from data, in which a model loses nothing."""
    from fabricfit.cli.checks import check_data, check_model, read_configuration
    from fabricfit.cli.configuration import parse_data
    from fabricfit.cli.sources import import_plugins

    if output is not None:
        check_new_file(output, (".json",))
    if metric is not None and loss is None:
        raise InvalidInputError("--metric needs --loss, which says that there are targets.")
    import_plugins(plugin or ())
    config = read_configuration(hls_config)
    check_model(model, weights)
    check_data(data := parse_data(source.section()))
    if data is None:
        raise InvalidInputError("--data is missing: the samples to measure on.")
    import fabricfit
    from fabricfit.cli.inputs import join_samples, load_data, load_model

    training, validation = load_data(data)
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
