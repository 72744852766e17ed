"""hls4ml's project of a model: conversion, compilation and simulation, with all output captured."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError, MissingExtraError, require

__all__ = [
    "CapturedOutput",
    "Results",
    "compile_project",
    "convert",
    "require_compiler",
    "run_project",
]

logger = logging.getLogger(__name__)

_TAIL_CHARACTERS = 3000


@dataclass
class CapturedOutput:
    """Lines that hls4ml prints, and warnings that it raises."""

    printed: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Capture standard output, standard error and warnings within a block."""
        out = io.StringIO()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                    yield
            finally:
                self.printed += [line for line in out.getvalue().splitlines() if line.strip()]
                self.warned += [
                    str(w.message) for w in caught if issubclass(w.category, UserWarning)
                ]
                logger.debug("hls4ml: %s", out.getvalue())

    @property
    def remarks(self) -> list[str]:
        """Warnings of hls4ml, each once, in order."""
        printed = [line for line in self.printed if "WARNING" in line.upper()]
        return list(dict.fromkeys(f"hls4ml: {line}" for line in printed + self.warned))


@dataclass(frozen=True)
class Results:
    """Results of the compiled code: float64 arrays for each layer and output, samples first."""

    layers: dict[str, np.ndarray]
    outputs: list[np.ndarray]


def require_compiler() -> None:
    """Raise a :class:`MissingExtraError` where there is no C++ compiler."""
    if shutil.which("g++") is None:
        raise MissingExtraError(
            "Compiling an hls4ml project needs the C++ compiler g++, which is not on PATH. Install "
            "it (Debian and Ubuntu: apt install g++), or pass compile=False to count only."
        )


def convert(
    model: Any,
    hls_config: Mapping[str, Any],
    output_dir: Path,
    output: CapturedOutput,
    *,
    backend: str,
    io_type: str,
    written: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Convert a Keras model, with every layer's results traced, and write the project.

    Parameters
    ----------
    model, hls_config, output_dir, backend, io_type
        As for hls4ml's converter.
    output
        Captures what hls4ml says.
    written
        Whether the project is written; else it is only converted.
    options
        Further options of the backend, such as the part, or an accelerator's board.

    Raises
    ------
    MissingExtraError
        hls4ml is not installed, or da4ml, which it needs for distributed arithmetic.
    FabricFitError
        hls4ml refuses the model or the configuration.
    """
    with output.capture():
        hls4ml = require("hls4ml", "hls4ml", "What hls4ml builds of a model")
        try:
            hls_model = hls4ml.converters.convert_from_keras_model(
                model,
                hls_config=copy.deepcopy(dict(hls_config)),
                backend=backend,
                io_type=io_type,
                output_dir=str(output_dir),
                **(options or {}),
            )
            if written:
                _write_traced(hls_model)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"hls4ml needs {error.name or error!r} to convert the model "
                f"{getattr(model, 'name', model)!r} ('distributed_arithmetic' needs 'da4ml'), which is not "
                "installed. Install it with: pip install 'fabricfit[hls4ml]'"
            ) from error
        except Exception as error:
            raise FabricFitError(
                f"hls4ml cannot convert the model {getattr(model, 'name', model)!r}: {error}"
            ) from error
    return hls_model


def _write_traced(hls_model: Any) -> None:
    hls_model.config.trace_output = True
    for node in traced_nodes(hls_model):
        node.set_attr("trace", True)
    hls_model.write()


def traced_nodes(hls_model: Any) -> list[Any]:
    """Return the layers whose results can be traced: all that become a function with one result."""
    return [
        node
        for node in hls_model.get_layers()
        if node.get_attr("function_cpp") and len(list(node.get_variables())) == 1
    ]


def compile_project(hls_model: Any, output: CapturedOutput) -> Path:
    """Compile a written project to a library.

    Raises
    ------
    FabricFitError
        The compiler fails; the message ends with its output.
    """
    before = len(output.printed)
    try:
        with output.capture():
            library = Path(hls_model.config.backend.compile(hls_model)).resolve()
            if not library.is_file():  # a script of hls4ml may end well where the compiler failed
                raise FabricFitError(f"the compiler wrote no library {library.name}")
            return library
    except Exception as error:
        text = "\n".join(output.printed[before:])[-_TAIL_CHARACTERS:]
        raise FabricFitError(f"{error}. Output of the compiler:\n{text}") from error


def run_project(
    hls_model: Any, library: Path, arrays: Sequence[np.ndarray], traced: bool = True
) -> Results:
    """Run a compiled project on every sample, in a process of its own.

    Parameters
    ----------
    hls_model
        The converted model that the library was compiled from.
    library
        The library that :func:`compile_project` returned.
    arrays
        One array for each input, shape ``(samples, *input_shape)``.
    traced
        Whether the results of every layer are kept, and not only the outputs.

    Raises
    ------
    FabricFitError
        The generated code stops, at an assertion for example.
    """
    described = {
        "library": str(library),
        "function": f"{hls_model.config.get_project_name()}_double",
        "layers": {
            node.name: [int(n) for n in node.get_output_variable().shape]
            for node in (traced_nodes(hls_model) if traced else ())
        },
        "outputs": [int(v.size()) for v in hls_model.get_output_variables()],
    }
    with tempfile.TemporaryDirectory(prefix="fabricfit-") as name:
        folder = Path(name)
        (folder / "project.json").write_text(json.dumps(described))
        numbered: dict[str, Any] = {f"{i:03}": x for i, x in enumerate(arrays)}
        np.savez(folder / "inputs.npz", **numbered)
        script = Path(__file__).with_name("_run_library.py")
        files = [folder / n for n in ("project.json", "inputs.npz", "results.npz")]
        ended = subprocess.run(
            [sys.executable, str(script), *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise FabricFitError(
                f"the generated code stopped with status {ended.returncode}. Its "
                f"output:\n{(ended.stdout + ended.stderr)[-_TAIL_CHARACTERS:]}"
            )
        with np.load(files[-1]) as found:
            layers = {k.partition("/")[2]: found[k] for k in found.files if k.startswith("layer/")}
            outputs = [found[f"output/{i}"] for i in range(len(described["outputs"]))]
    return Results(layers, outputs)
