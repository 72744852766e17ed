"""Commands that choose how a model is built: ``explore``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fabricfit.cli.options import AsJson, Clock, HlsConfig, Interval, Latency, ModelFile, Plugins
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json
from fabricfit.errors import InvalidInputError

__all__ = ["explore"]


def explore(
    model: ModelFile,
    device: Annotated[str, typer.Option(help="The board or part to build it for.")],
    fraction: Annotated[float, typer.Option(help="Fraction of the device that may be used.")] = 1.0,
    latency: Latency = None,
    interval: Interval = None,
    clock: Clock = None,
    data: Annotated[
        str | None,
        typer.Option(help="Samples that tell which weights matter: .npz, .h5, .parquet."),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Name of a Keras loss; as the model was compiled by default.")
    ] = None,
    hls_config: HlsConfig = None,
    output: Annotated[
        Path | None, typer.Option(help="The .json file to write a design's configuration to.")
    ] = None,
    design: Annotated[int, typer.Option(help="Number of the design that is written.")] = 0,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Choose strategy, reuse factor, bits and pruning of each layer for a board, without training."""
    import fabricfit
    from fabricfit.cli.configuration import DataConfig, read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_data, load_model
    from fabricfit.hardware.budget import Budget

    if output is not None:
        check_new_file(output, (".json",))
    budget = Budget.device(device, fraction, latency=latency, interval=interval, clock=clock)
    import_plugins(plugin or ())
    found = fabricfit.explore(
        load_model(str(model)),
        budget,
        None if data is None else load_data(DataConfig(source=data))[0][:2],
        hls_config=None if hls_config is None else read_hls4ml(str(hls_config)),
        loss=loss,
    )
    if not 0 <= design < len(found.designs):
        raise InvalidInputError(
            f"--design must be a number from 0 to {len(found.designs) - 1}. Received: {design}"
        )
    if output is not None:
        write_new_json(output, found.designs[design].config)
    if as_json:
        print_json(found.to_dict())
    else:
        print_text(str(found))
    return 0
