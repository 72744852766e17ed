"""Commands about runs: ``optimize``, ``resume`` and ``report``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabricfit.cli.completion import complete_setting
from fabricfit.cli.groups import NO_BUDGET, BudgetOptions, SampleOptions, has_limits, with_groups
from fabricfit.cli.options import (
    AsJson,
    HlsConfig,
    Plugins,
    Quiet,
    WeightsFile,
    drop_missing,
)
from fabricfit.cli.output import VERIFICATION_CODES, check_new_file, print_json, print_text
from fabricfit.errors import InvalidInputError

if TYPE_CHECKING:
    from fabricfit.cli.configuration import RunConfig

__all__ = ["optimize", "report", "resume"]


@with_groups
def optimize(
    *,
    source: Annotated[
        Path, typer.Argument(help="A .yaml or .toml file that describes the run, or a .keras file.")
    ],
    weights: WeightsFile = None,
    samples: SampleOptions,
    budget: BudgetOptions,
    hls_config: HlsConfig = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Largest number of epochs of a level; all epochs where precision is trained."
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples of a training step.")] = None,
    loss: Annotated[str | None, typer.Option(help="Name of a Keras loss.")] = None,
    metric: Annotated[str | None, typer.Option(help="Name of a Keras metric.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="given: number formats of hls4ml's configuration; trained: trained ones; chosen: "
            "strategies, reuse factors and formats are chosen for the board.",
            autocompletion=complete_setting("precision"),
        ),
    ] = None,
    designs: Annotated[
        int | None, typer.Option(help="How many designs compete, with --precision chosen.")
    ] = None,
    granularity: Annotated[
        str | None,
        typer.Option(
            help="tensor or channel: what has a trained format of its own.",
            autocompletion=complete_setting("granularity"),
        ),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            help="Fraction of the metric that must be kept, such as 0.98; without it the budget is met "
            "at any loss of the metric."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="What the metric may lose at most, such as 0.01 for a point of accuracy."
        ),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            help="Choices of regularization strengths to try before; each costs some epochs."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    output: Annotated[
        str | None,
        typer.Option(help="Folder in which runs make their folders; the user's cache by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the same run if --output holds it.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the result with hls4ml.")
    ] = False,
    plugin: Plugins = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Prune, share and round a model's weights until it fits. Options override the file's settings."""
    if output == "":
        raise InvalidInputError("--output must name a folder. Received: ''")
    given = {
        "data": samples.section(),
        "budget": budget.section(),
        "weights": None if weights is None else str(weights.absolute()),
        "hls4ml": None if hls_config is None else str(hls_config.absolute()),
        "training": drop_missing(
            epochs=epochs,
            batch_size=batch_size,
            loss=loss,
            metric=metric,
            rtol=rtol,
            max_drop=max_drop,
            search=search,
            seed=seed,
        ),
        "precision": precision,
        "designs": designs,
        "granularity": granularity,
        "directory": output,
        "plugins": plugin,
    }
    config = _override_settings(source, {name: value for name, value in given.items() if value})
    _check_run(config, "--data" if samples.data is not None else "")
    from fabricfit.cli import jobs

    result = jobs.optimize(config, resume=resume, verbose=not (quiet or as_json))
    return _report_result(result, verify, as_json)


def _override_settings(source: Path, changes: dict[str, Any]) -> RunConfig:
    """Return the run that a file describes, or a model's, with the settings that options change."""
    from fabricfit.cli.configuration import parse, read_config

    if source.suffix in (".yaml", ".yml", ".toml"):
        values = read_config(source).model_dump(exclude_defaults=True)
    else:
        values = {"model": str(source.absolute())}
    for name, value in changes.items():
        held: Any = values.get(name)
        if name == "budget":
            values.pop("objective", None)
        if name in ("data", "training") and isinstance(held, dict):
            values[name] = {**held, **dict(value)}
        else:
            values[name] = value
    stated = bool({"budget", "objective"} & values.keys())
    if not (has_limits(changes["budget"]) if "budget" in changes else stated):
        raise InvalidInputError(NO_BUDGET)
    return parse(values, name="the command", folder=Path.cwd())


def _check_run(config: RunConfig, option: str = "") -> None:
    """Check the files and the budget of a run, whose samples an option may have named."""
    from fabricfit.cli.budgets import budget_of
    from fabricfit.cli.checks import check_data, check_model
    from fabricfit.cli.configuration import read_hls4ml
    from fabricfit.cli.sources import import_plugins

    import_plugins(config.plugins)
    if config.budget is not None:
        budget_of(config.budget)
    read_hls4ml(config.hls4ml)
    check_model(config.model, config.weights)
    check_data(config.data, option)


def _report_result(result: Any, verify: bool, as_json: bool) -> int:
    """Print the outcome of a run; return the exit code."""
    report, code, proof = result.report, 0, None
    if verify:
        proof = result.verify()
        code = VERIFICATION_CODES[proof.outcome]
    if as_json:
        found = {
            "directory": str(result.directory),
            "report": report.to_dict(),
            "fits": report.fits,
            "verdict": str(report.verdict),
        }
        if proof is not None:
            found["verification"] = {**proof.to_dict(), "text": str(proof)}
        print_json(found)
    else:
        print_text(str(report))
        if proof is not None:
            print_text(str(proof))
        print_text(f"Report: {result.write_report()}")
    return code or (0 if report.fits else 4)


def resume(
    directory: Annotated[Path, typer.Argument(help="The folder of a run.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Resume an interrupted run; it ends as an uninterrupted one would have."""
    from fabricfit.cli.configuration import read_config
    from fabricfit.run.files import CONFIGURATION

    path = directory / CONFIGURATION
    if not path.is_file():
        raise InvalidInputError(
            f"{directory} holds no {CONFIGURATION}, so it is not the folder of a run of "
            "'fabricfit optimize'. A run that Python began is resumed there, with resume=True."
        )
    config = read_config(path)
    _check_run(config)
    from fabricfit.cli import jobs

    verbose = not (quiet or as_json)
    result = jobs.optimize(config, resume=True, directory=str(directory), verbose=verbose)
    return _report_result(result, False, as_json)


def report(
    directory: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the folder by default.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the report of a finished run as a web page, and print its table."""
    from fabricfit.reporting import read_run, write_page

    if output is not None:
        check_new_file(output, (".html", ".htm"))
    finished = read_run(directory)
    written = write_page(finished, output)
    if as_json:
        print_json({"report": finished.report.to_dict(), "page": str(written)})
    else:
        print_text(str(finished.report))
        print_text(f"Report: {written}")
    return 0
