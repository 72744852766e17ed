"""Commands that choose how a model is built: ``explore``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabricfit.cli.options import (
    AsJson,
    Bram36,
    Clock,
    Dsp,
    Ff,
    HlsConfig,
    Interval,
    Latency,
    Lut,
    Margin,
    MemoryGib,
    ModelFile,
    Plugins,
    WeightsFile,
    collect_budget,
)
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json
from fabricfit.errors import InfeasibleError, InvalidInputError

if TYPE_CHECKING:
    from fabricfit.cli.sections import DataConfig
    from fabricfit.design import Exploration
    from fabricfit.hardware.budget import Budget

__all__ = ["explore"]


def explore(
    model: ModelFile,
    weights: WeightsFile = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="The board or part to build it for; several, each with an option."),
    ] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Fraction of the device that may be used.")
    ] = None,
    dsp: Dsp = None,
    bram36: Bram36 = None,
    lut: Lut = None,
    ff: Ff = None,
    margin: Margin = None,
    latency: Latency = None,
    interval: Interval = None,
    clock: Clock = None,
    data: Annotated[
        str | None,
        typer.Option(help="Samples that tell which weights matter: .npz, .h5, .parquet."),
    ] = None,
    memory_gib: MemoryGib = None,
    loss: Annotated[
        str | None, typer.Option(help="Name of a Keras loss; as the model was compiled by default.")
    ] = None,
    hls_config: HlsConfig = None,
    output: Annotated[
        Path | None, typer.Option(help="The .json file to write a design's configuration to.")
    ] = None,
    design: Annotated[
        int | None, typer.Option(help="Number of the design that is written; 0 by default.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Choose strategy, reuse factor, bits and pruning of each layer for boards or amounts, untrained."""
    from fabricfit.cli.configuration import parse_budget, parse_data
    from fabricfit.cli.inputs import import_plugins
    from fabricfit.cli.jobs import budget_of

    if output is not None:
        check_new_file(output, (".json",))
    boards: list[str | None] = [*dict.fromkeys(device or ())] or [None]
    if len(boards) > 1 and (output is not None or design is not None):
        raise InvalidInputError(
            f"--output and --design are for a single --device. Received: {', '.join(map(str, boards))}"
        )
    import_plugins(plugin or ())
    limits: dict[str, float | str | None] = {"dsp": dsp, "bram36": bram36, "lut": lut, "ff": ff}
    limits |= {"margin": margin, "latency": latency, "interval": interval, "clock": clock}
    sections = {str(board): collect_budget(board, fraction, **limits) for board in boards}
    budgets = {board: budget_of(parse_budget(each)) for board, each in sections.items()}
    given = None if data is None else parse_data(data, memory_gib)
    found = _explore_all((str(model), weights), budgets, hls_config, given, loss)
    if len(boards) > 1:
        return _print_boards(found, as_json)
    (only,) = found.values()
    if isinstance(only, InfeasibleError):
        raise only
    number = design or 0
    if not 0 <= number < len(only.designs):
        raise InvalidInputError(
            f"--design must be a number from 0 to {len(only.designs) - 1}. Received: {number}"
        )
    if output is not None:
        write_new_json(output, only.designs[number].config)
    if as_json:
        print_json(only.to_dict())
    else:
        print_text(str(only))
    return 0


def _explore_all(
    model: tuple[str, Path | None],
    budgets: Mapping[str, Budget],
    hls_config: Path | None,
    data: DataConfig | None,
    loss: str | None,
) -> dict[str, Exploration | InfeasibleError]:
    """Return the designs of a model, in a file and perhaps one of weights, or why there are none."""
    import fabricfit
    from fabricfit.cli.configuration import read_hls4ml
    from fabricfit.cli.inputs import load_data, load_model
    from fabricfit.design.loss_curvature import measure_curvature

    whole = load_model(*model)
    config = None if hls_config is None else read_hls4ml(str(hls_config))
    curvature = {}
    if data is not None:
        curvature = measure_curvature(whole, load_data(data)[0], loss)
    found: dict[str, Exploration | InfeasibleError] = {}
    for name, budget in budgets.items():
        try:
            found[name] = fabricfit.explore(whole, budget, hls_config=config, curvature=curvature)
        except InfeasibleError as error:
            found[name] = error
    return found


def _print_boards(found: Mapping[str, Exploration | InfeasibleError], as_json: bool) -> int:
    """Print the designs of each board, or why there are none; return the exit code."""
    values: dict[str, Any] = {}
    lines: list[str] = []
    for board, each in found.items():
        if isinstance(each, InfeasibleError):
            values[board] = {"error": str(each)}
            lines.append(f"{board}: {each}")
        else:
            values[board] = each.to_dict()
            lines.append(f"{board} ({each.budget.target}):\n{each}")
    if as_json:
        print_json(values)
    else:
        print_text("\n\n".join(lines))
    return 3 if all(isinstance(each, InfeasibleError) for each in found.values()) else 0
