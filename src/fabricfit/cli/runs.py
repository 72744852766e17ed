"""Commands about runs: ``optimize``, ``resume`` and ``report``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    Plugins,
    Quiet,
    WeightsFile,
    collect_budget,
    drop_missing,
)
from fabricfit.cli.output import VERIFICATION_CODES, check_new_file, print_json, print_text

__all__ = ["optimize", "report", "resume"]


def optimize(
    source: Annotated[
        Path, typer.Argument(help="A .yaml or .toml file that describes the run, or a .keras file.")
    ],
    weights: WeightsFile = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="An .npz, .h5 or .parquet file, a folder of .npy files, or 'module:function'."
        ),
    ] = None,
    memory_gib: MemoryGib = None,
    device: Annotated[
        str | None, typer.Option(help="The board or part to fit the model to.")
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
            "strategies, reuse factors and formats are chosen for the board."
        ),
    ] = None,
    designs: Annotated[
        int | None, typer.Option(help="How many designs compete, with --precision chosen.")
    ] = None,
    granularity: Annotated[
        str | None, typer.Option(help="tensor or channel: what has a trained format of its own.")
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
    from fabricfit.cli import jobs

    given = {
        "data": drop_missing(source=data, memory_gib=memory_gib),
        "budget": collect_budget(
            device,
            fraction,
            dsp=dsp,
            bram36=bram36,
            lut=lut,
            ff=ff,
            margin=margin,
            latency=latency,
            interval=interval,
            clock=clock,
        ),
        "weights": None if weights is None else str(weights.absolute()),
        "hls4ml": None if hls_config is None else str(hls_config.absolute()),
        "training": drop_missing(
            epochs=epochs,
            batch_size=batch_size,
            loss=loss,
            metric=metric,
            rtol=rtol,
            max_drop=max_drop,
            seed=seed,
        ),
        "precision": precision,
        "designs": designs,
        "granularity": granularity,
        "directory": output,
        "plugins": plugin,
    }
    config = _override_settings(source, {name: value for name, value in given.items() if value})
    result = jobs.optimize(config, resume=resume, verbose=not (quiet or as_json))
    return _report_result(result, verify, as_json)


def _override_settings(source: Path, changes: dict[str, Any]) -> Any:
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
    return parse(values, name="the command", folder=Path.cwd())


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
    from fabricfit.cli import jobs

    result = jobs.resume_directory(directory, verbose=not (quiet or as_json))
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
