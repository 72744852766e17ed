"""The command line: its commands, and the exit code of each outcome."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from fabricfit._version import __version__
from fabricfit.cli import catalogue, designs, formats, models, runs
from fabricfit.cli.output import print_text, write_to
from fabricfit.cli.signals import (
    causes_of,
    exit_code_of,
    find_interruption,
    hand_on_interruptions,
    interruptible,
)
from fabricfit.errors import FabricFitError, InfeasibleError
from fabricfit.tables import show_lines

__all__ = ["EXIT_CODES", "app", "run"]

EXIT_CODES = {
    0: "done",
    1: "an error in fabricfit, or in a library that it uses",
    2: "invalid input",
    3: "the budget cannot be met",
    4: "done, but the result is not within the budget, or the verification proves not all of it",
    5: "the verification failed: the design is not what the model says",
    129: "ended by SIGHUP; a run can be resumed",
    130: "interrupted; a run can be resumed",
    143: "ended by SIGTERM; a run can be resumed",
}

_BACKENDS = ("keras", "tensorflow", "jax", "torch")
_NO_BACKEND = (
    "this command needs Keras and a backend, and {!r} is not installed. Install both with: "
    "pip install 'fabricfit[tensorflow]' (or jax, or torch)"
)
_LONGEST_MESSAGE = 5_000
"""Characters of an error that are shown: names and values in it may be of any length."""
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


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, whatever happens."""
    code = _run_command(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try once more when it ends, and end with an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: standard output cannot be written: {error.strerror}\n")
            return 1
    return code


def _run_command(arguments: Sequence[str] | None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interruptible():
            ended = app(words, prog_name="fabricfit", standalone_mode=False)
        return int(ended) if isinstance(ended, int) else 0
    except InfeasibleError as error:
        return _print_error(str(error), 3, words)
    except FabricFitError as error:
        return _print_error(_name_option(str(error), words), 2, words)
    except BrokenPipeError:
        return 1  # whoever reads has read enough
    except KeyboardInterrupt as error:
        return _print_error(_tell_interruption(error), exit_code_of(error), words)
    except Exception as error:
        # Extensions that call Python make errors of their own of an interruption.
        if (interruption := find_interruption(error)) is not None:
            return _print_error(_tell_interruption(error), exit_code_of(interruption), words)
        kind = type(error).__name__  # Typer brings classes of its own, like Click's
        if kind == "Exit":
            return int(getattr(error, "exit_code", 0))
        if hasattr(error, "format_message"):
            return _print_error(error.format_message(), 2, words)
        if "--debug" in words:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name in _BACKENDS:
            return _print_error(_NO_BACKEND.format(error.name), 2, words)
        message = " ".join(str(error).split())[:500]
        return _print_error(f"{kind}: {message} (--debug shows where)", 1, words)


def _tell_interruption(error: BaseException) -> str:
    """Return how what was interrupted is resumed."""
    chain = [error, *causes_of(error)]
    folder = next((each.run_folder for each in chain if hasattr(each, "run_folder")), None)
    if folder is None:
        return "interrupted before a run began: there is nothing to resume"
    return f"interrupted; resume the run with: fabricfit resume {shlex.quote(str(folder))}"


def _name_option(message: str, words: Sequence[str]) -> str:
    """Return a message about an argument as one about the option that gave it."""
    name, _, rest = message.partition(" ")
    option = f"--{name.replace('_', '-')}"
    given = any(word == option or word.startswith(f"{option}=") for word in words)
    return f"{option} {rest.replace(f'Received: {name}=', 'Received: ')}" if given else message


def _print_error(message: str, code: int, words: Sequence[str]) -> int:
    """Print an error, as JSON where that was asked for; return the exit code."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}… ({len(message):,} characters)"
    if "--json" in words:
        sys.stdout.write(json.dumps({"error": message, "exit_code": code}) + "\n")
    else:
        Console(stderr=True).print("error:", style="bold red", end=" ")
        write_to(sys.stderr, f"{show_lines(message)}\n")
    return code


def _print_version(asked: bool) -> None:
    if asked:
        print_text(__version__)
        raise typer.Exit


@app.callback()
def _set_up_logging(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        logging.basicConfig(level=logging.DEBUG)


for _command in (
    models.estimate, formats.calibrate, designs.explore, runs.optimize, runs.resume, runs.report,
    models.verify, models.rtl, models.reduce, catalogue.devices, catalogue.schema,
):  # fmt: skip
    app.command()(hand_on_interruptions(_command))
app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)(catalogue.demo)
