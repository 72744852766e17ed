"""Commands that choose how a model is built: ``explore``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabricfit.cli.groups import BudgetOptions, SampleOptions, with_groups
from fabricfit.cli.options import AsJson, HlsConfig, ModelFile, Plugins, WeightsFile
from fabricfit.cli.output import check_new_file, print_json, print_text, write_new_json
from fabricfit.errors import InfeasibleError, InvalidInputError

if TYPE_CHECKING:
    from fabricfit.cli.sections import DataConfig
    from fabricfit.design import Exploration
    from fabricfit.hardware.budget import Budget

__all__ = ["explore"]


@with_groups
def explore(
    *,
    model: ModelFile,
    weights: WeightsFile = None,
    budget: BudgetOptions,
    source: SampleOptions,
    loss: Annotated[
        str | None, typer.Option(help="Name of a Keras loss; as the model was compiled by default.")
    ] = None,
    hls_config: HlsConfig = None,
    output: Annotated[
        Path | None, typer.Option(help="The .json file to write a design's configuration to.")
    ] = None,
    design: Annotated[
        int | None,
        typer.Option(help="Number of the design that is written; 0 by default.", min=0),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Choose strategy, reuse factor, bits and pruning of each layer for a budget, untrained.

    Several boards, each with a --device, are explored one after the other. With --data, samples tell which
    weights matter.
    """
    from fabricfit.cli.budgets import read_budgets
    from fabricfit.cli.checks import check_data, check_model, read_configuration
    from fabricfit.cli.configuration import parse_data
    from fabricfit.cli.sources import import_plugins

    if output is not None:
        check_new_file(output, (".json",))
    boards = budget.devices
    if len(boards) > 1 and (output is not None or design is not None):
        raise InvalidInputError(
            f"--output and --design are for a single --device. Received: {', '.join(boards)}"
        )
    import_plugins(plugin or ())
    budgets = read_budgets(budget)
    config = read_configuration(hls_config)
    check_model(model, weights)
    check_data(data := parse_data(source.section()))
    found = _explore_all((str(model), weights), budgets, config, data, loss)
    if len(boards) > 1:
        return _print_boards(found, as_json)
    (only,) = found.values()
    if isinstance(only, InfeasibleError):
        raise only
    number = design or 0
    if number >= len(only.designs):
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
    config: Mapping[str, Any] | None,
    data: DataConfig | None,
    loss: str | None,
) -> dict[str, Exploration | InfeasibleError]:
    """Return the designs of a model, in a file and perhaps one of weights, or why there are none."""
    import fabricfit
    from fabricfit.cli.inputs import load_data, load_model
    from fabricfit.design.loss_curvature import measure_curvature

    whole = load_model(*model)
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
