"""The commands, and how each of them ends."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fabricfit._version import __version__
from fabricfit.errors import FabricFitError, InfeasibleError, InvalidInputError

__all__ = ["EXIT_CODES", "app", "run"]

EXIT_CODES = {
    0: "done",
    1: "a fault of fabricfit, or of something beneath it",
    2: "the input cannot be worked with",
    3: "the budget cannot be met",
    4: "done, but the result is not within the budget, or did not pass verification",
    130: "interrupted; a run can be resumed",
}

_INTERRUPTED = "interrupted; 'fabricfit resume DIRECTORY' goes on with a run"
_EPILOG = "Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="fabricfit",
    help="Make a trained Keras model fit an FPGA.",
    epilog=_EPILOG,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Module to import first, such as qkeras or hgq."),
]
ModelFile = Annotated[Path, typer.Argument(help="A .keras file.", metavar="MODEL")]
HlsConfig = Annotated[
    Path | None, typer.Option("--hls-config", help="hls4ml's configuration, .json or .yaml.")
]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, whatever happens."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        ended = app(words, standalone_mode=False)
        return int(ended) if isinstance(ended, int) else 0
    except InfeasibleError as error:
        return _failed(str(error), 3, words)
    except FabricFitError as error:
        return _failed(str(error), 2, words)
    except KeyboardInterrupt:
        return _failed(_INTERRUPTED, 130, words)
    except Exception as error:
        kind = type(error).__name__  # Typer brings classes of its own, like Click's
        if kind == "Exit":
            return int(getattr(error, "exit_code", 0))
        if kind == "Abort":
            return _failed(_INTERRUPTED, 130, words)
        if hasattr(error, "format_message"):
            return _failed(error.format_message(), 2, words)
        if "--debug" in words:
            raise
        said = " ".join(str(error).split())[:500]
        return _failed(f"{type(error).__name__}: {said} (--debug shows where)", 1, words)


def _failed(message: str, code: int, words: Sequence[str]) -> int:
    if "--json" in words:
        sys.stdout.write(json.dumps({"error": message, "exit_code": code}) + "\n")
    else:
        Console(stderr=True).print("error:", style="bold red", end=" ")
        sys.stderr.write(message + "\n")
    return code


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _version(asked: bool) -> None:
    if asked:
        _say(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    if debug:
        logging.basicConfig(level=logging.DEBUG)


@app.command()
def estimate(
    model: ModelFile,
    hls_config: HlsConfig = None,
    device: Annotated[str | None, typer.Option(help="Show what of this device it takes.")] = None,
    fraction: Annotated[float, typer.Option(help="How much of the device may be used.")] = 1.0,
    plugin: Plugins = None,
    as_json: Json = False,
) -> int:
    """Say what a model takes of an FPGA, without training or synthesis."""
    import fabricfit
    from fabricfit.cli.configuration import read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_model
    from fabricfit.hardware.budget import Budget

    import_plugins(plugin or ())
    config = read_hls4ml(None if hls_config is None else str(hls_config))
    budget = None if device is None else Budget.device(device, fraction)
    found = fabricfit.estimate(load_model(str(model)), config, budget=budget)
    if as_json:
        _print_json(found.to_dict())
    else:
        _say(str(found))
    return 0 if found.fits else 4


@app.command()
def optimize(
    source: Annotated[
        Path, typer.Argument(help="A .yaml or .toml file that describes the run, or a .keras file.")
    ],
    data: Annotated[
        str | None, typer.Option(help="An .npz, .h5 or .parquet file, or 'module:function'.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="The board or part to fit it to.")] = None,
    fraction: Annotated[float | None, typer.Option(help="How much of it may be used.")] = None,
    dsp: Annotated[float | None, typer.Option(help="DSP blocks that it may take.")] = None,
    bram36: Annotated[float | None, typer.Option(help="Block RAMs that it may take.")] = None,
    lut: Annotated[float | None, typer.Option(help="LUTs that it may take.")] = None,
    ff: Annotated[float | None, typer.Option(help="Flip-flops that it may take.")] = None,
    hls_config: HlsConfig = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs for a level.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a step.")] = None,
    loss: Annotated[str | None, typer.Option(help="A loss that Keras knows.")] = None,
    metric: Annotated[str | None, typer.Option(help="A metric that Keras knows.")] = None,
    rtol: Annotated[
        float | None, typer.Option(help="Part of the metric that must stay; all may go without it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds everything random.")] = None,
    output: Annotated[
        str | None, typer.Option(help="Where runs make their folders; the cache without it.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this very run if there is one in --output.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the result with hls4ml.")
    ] = False,
    plugin: Plugins = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Json = False,
) -> int:
    """Prune, share and round a model's weights until it fits. Options go before the file's settings."""
    from fabricfit.cli import jobs
    from fabricfit.cli.configuration import parse, read_config

    given = {
        "data": None if data is None else {"source": data},
        "budget": _budget(device, fraction, dsp=dsp, bram36=bram36, lut=lut, ff=ff),
        "hls4ml": None if hls_config is None else str(hls_config.absolute()),
        "training": _some(
            epochs=epochs, batch_size=batch_size, loss=loss, metric=metric, rtol=rtol, seed=seed
        ),
        "directory": output,
        "plugins": plugin,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value}
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
    config = parse(values, name="the command", folder=Path.cwd())
    result = jobs.optimize(config, resume=resume, verbose=not (quiet or as_json))
    return _delivered(result, verify, as_json)


def _budget(device: str | None, fraction: float | None, **amounts: float | None) -> dict[str, Any]:
    found = _some(device=device, fraction=fraction, **amounts)
    if fraction is not None and device is None:
        raise InvalidInputError("--fraction needs a --device.")
    return found


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _delivered(result: Any, verify: bool, as_json: bool) -> int:
    """Say what came out of a run; return the exit code."""
    report, passed, proof = result.report, True, None
    if verify:
        proof = result.verify()
        passed = proof.passed
    if as_json:
        found = {
            "directory": str(result.directory),
            "report": report.to_dict(),
            "fits": report.fits,
        }
        if proof is not None:
            found["verification"] = {"passed": passed, "text": str(proof)}
        _print_json(found)
        return 0 if report.fits and passed else 4
    _say(str(report))
    if proof is not None:
        _say(str(proof))
    _say(f"Report: {result.write_report()}")
    return 0 if report.fits and passed else 4


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(help="The folder of a run.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Json = False,
) -> int:
    """Go on with a run that was interrupted; it ends as an unbroken one would have."""
    from fabricfit.cli import jobs

    result = jobs.resume_directory(directory, verbose=not (quiet or as_json))
    return _delivered(result, False, as_json)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the folder without it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write the page of a run, and say what came out."""
    from fabricfit.reporting import read_run, write_page

    if output is not None and output.suffix not in (".html", ".htm"):
        raise InvalidInputError(f"the output must be an .html file. Received: {output}")
    if output is not None and output.exists():
        raise InvalidInputError(f"{output} is there already, and is not overwritten.")
    story = read_run(directory)
    written = write_page(story, output)
    if as_json:
        _print_json({"report": story.report.to_dict(), "page": str(written)})
    else:
        _say(str(story.report))
        _say(f"Report: {written}")
    return 0


@app.command()
def verify(
    model: ModelFile,
    hls_config: HlsConfig = None,
    data: Annotated[
        str | None, typer.Option(help="Samples to compute; random ones without.")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many of them.")] = 100,
    backend: Annotated[str, typer.Option(help="hls4ml's backend.")] = "Vitis",
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Count, but do not compile and run.")
    ] = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> int:
    """Prove in the C++ that hls4ml generates what a model costs and computes."""
    import fabricfit
    from fabricfit.cli.configuration import DataConfig, read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_data, load_model

    import_plugins(plugin or ())
    config = read_hls4ml(None if hls_config is None else str(hls_config))
    X = None if data is None else load_data(DataConfig(source=data))[1][0]
    found = fabricfit.verify(
        load_model(str(model)), config, X, backend=backend, samples=samples, compile=not counts_only
    )
    if as_json:
        _print_json({"passed": found.passed, "text": str(found)})
    else:
        _say(str(found))
    return 0 if found.passed else 4


@app.command()
def reduce(
    model: ModelFile,
    output: Annotated[Path, typer.Argument(help="The .keras file to write.")],
    plugin: Plugins = None,
    as_json: Json = False,
) -> int:
    """Take units that do no work out of a model, which computes the same without them."""
    from fabricfit.cli.inputs import import_plugins, load_model
    from fabricfit.run.files import RunDirectory
    from fabricfit.surgery.reduction import plan_reduction, reduce_model

    if output.suffix != ".keras":
        raise InvalidInputError(f"the output must be a .keras file. Received: {output}")
    if output.exists():
        raise InvalidInputError(f"{output} is there already, and is not overwritten.")
    if not output.absolute().parent.is_dir():
        raise InvalidInputError(f"there is no folder {output.absolute().parent}.")
    import_plugins(plugin or ())
    whole = load_model(str(model))
    plan = plan_reduction(whole)
    smaller = reduce_model(whole)
    RunDirectory.existing(output.absolute().parent).write(output.name, smaller.save)
    if as_json:
        sizes = {
            "parameters_before": whole.count_params(),
            "parameters_after": smaller.count_params(),
        }
        _print_json({"removed": dict(plan.removed), "kept": dict(plan.kept), **sizes})
    else:
        _say(str(plan))
        _say(f"{whole.count_params():,} -> {smaller.count_params():,} parameters, in {output}")
    return 0


@app.command()
def devices(
    name: Annotated[str | None, typer.Argument(help="Those with this in their name.")] = None,
    as_json: Json = False,
) -> int:
    """List the boards and parts whose resources are known."""
    from fabricfit.hardware import devices as known
    from fabricfit.tables import TextTable

    wanted = (name or "").lower()
    found = [each for each in known() if wanted in each.name.lower() or wanted in each.part.lower()]
    if not found:
        raise InvalidInputError(f"no device has {name!r} in its name.")
    if as_json:
        _print_json([vars(each) for each in found])
        return 0
    header = ["device", "part", "family", "DSP", "BRAM36", "URAM", "LUT", "FF"]
    body = [
        [
            each.name, each.part, each.family, f"{each.dsp:,}", f"{each.bram36:,g}", f"{each.uram:,}",
            f"{each.lut:,}", f"{each.ff:,}",
        ]
        for each in found
    ]  # fmt: skip
    _say("\n".join(TextTable(header, body, names=frozenset((0, 1, 2))).lines()))
    return 0


@app.command()
def schema() -> int:
    """Print the JSON Schema of the file that describes a run."""
    from fabricfit.cli import configuration

    _print_json(configuration.schema())
    return 0


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def demo(context: typer.Context) -> int:
    """Train a jet tagger, fit it to a board, and show what came out."""
    from fabricfit.demo import main

    try:
        return main(context.args)
    except SystemExit as ended:
        return int(ended.code or 0)
