"""hls4ml's project of a model: conversion, compilation and simulation, with all output captured."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.strategies import check_io_type
from fabricfit.errors import FabricFitError, MissingExtraError, require
from fabricfit.firmware._run_library import SAMPLE_IS_DONE
from fabricfit.firmware.bounded import Limits, run_bounded
from fabricfit.firmware.long_code import fold_products
from fabricfit.hls4ml.config import read_io_type
from fabricfit.network.reader import Network
from fabricfit.run.stages import Progress

__all__ = [
    "CapturedOutput",
    "Results",
    "announce_graphs",
    "compile_project",
    "convert",
    "require_compiler",
    "resolve_io_type",
    "run_project",
]

logger = logging.getLogger(__name__)

_TAIL_CHARACTERS, _MOST_ERRORS = 3000, 20
_LEAST_PART = 8
"""Samples that a process of its own is worth."""

_LONG_GRAPH = 2**13
"""Weights of a layer whose adders hls4ml searches for minutes and more."""

_WRITTEN_OUT = 10**5
"""Bytes of generated code from which on products that are written out are compiled as loops."""

_LONG_CODE, _BRIEF = 10_000, "-O1 -fno-inline"
"""Lines of generated code from which on a compiler would optimize it for minutes to hours, and how it is
told not to."""

_COMPILES = re.compile(r"^\$\{CC\}.* -c \S+ -o \S+\s*$")
_UNLIMITED = Limits()


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


def resolve_io_type(hls_config: Mapping[str, Any], io_type: str | None) -> str:
    """Return the interface that is asked for, else that of the configuration."""
    return read_io_type(hls_config) if io_type is None else check_io_type(io_type)


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
                "installed. Install it with: pip install 'fabricfit[adders]'"
            ) from error
        except Exception as error:
            raise FabricFitError(
                f"hls4ml cannot convert the model {getattr(model, 'name', model)!r}: {error}"
            ) from error
    return hls_model


def announce_graphs(network: Network, attributes: Mapping[str, LayerAttributes]) -> None:
    """Warn of graphs of adders that hls4ml takes long for, which no limit ends."""
    large = {
        name: count
        for name, kernel in network.kernel_arrays().items()
        if name in attributes
        and (built := attributes[name].hls4ml) is not None
        and built.strategy == "distributed_arithmetic"
        and (count := int(np.count_nonzero(kernel))) > _LONG_GRAPH
    }
    if large:
        named = ", ".join(f"{name!r} with {count:,} weights" for name, count in large.items())
        logger.warning(
            "hls4ml searches for the adders of distributed_arithmetic layers, which takes minutes to hours "
            "here, whatever the time_limit: %s", named,
        )  # fmt: skip


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


def compile_project(hls_model: Any, limits: Limits = _UNLIMITED) -> Path:
    """Compile a written project to a library, its files beside each other.

    Parameters
    ----------
    hls_model
        The converted model.
    limits
        What the compiler may need.

    Raises
    ------
    LimitExceededError
        The compiler needs more.
    FabricFitError
        The compiler fails; the message ends with its output.
    """
    config = hls_model.config
    folder, name = Path(config.get_output_dir()).resolve(), config.get_project_name()
    text = _compile_beside((folder / "build_lib.sh").read_text())
    written = folder / "firmware" / "nnet_utils" / "nnet_code_gen.h"
    # Files of ours beside those of the project, which stay as hls4ml writes them.
    script, folded = folder / "fabricfit_build.sh", folder / "fabricfit_products.h"
    try:
        if written.exists() and written.stat().st_size > _WRITTEN_OUT:
            code = fold_products(written.read_text())
            folded.write_text(code)
            # It has the same guard, so that the project's own file is skipped.
            text = text.replace(
                'INCFLAGS="', f'INCFLAGS="-Ifirmware/nnet_utils/ -include {folded.name} '
            )
            if code.count("\n") > _LONG_CODE:
                logger.info("the generated code is long: compiled with %s", _BRIEF)
                text = text.replace("-O3", _BRIEF)
        script.write_text(text)
        status, printed = run_bounded(
            ["bash", script.name], limits, "compiling the generated code", cwd=folder
        )
    finally:
        script.unlink(missing_ok=True)
        folded.unlink(missing_ok=True)
    library = folder / "firmware" / f"{name}-{config.get_config_value('Stamp')}.so"
    # A script of hls4ml may end well where the compiler failed.
    if status or not library.is_file():
        raise FabricFitError(
            f"the generated code of {name!r} could not be compiled. Output of the compiler:\n"
            f"{_pick_errors(printed)[-_TAIL_CHARACTERS:]}"
        )
    return library


def _pick_errors(printed: str) -> str:
    """Return the errors among what a compiler says; all of it where none is marked as such."""
    lines = [line for line in printed.splitlines() if "error" in line]
    return "\n".join(lines[:_MOST_ERRORS]) or printed


def _compile_beside(script: str) -> str:
    """Return a script of hls4ml in which files are compiled at the same time, before they are linked."""
    lines, waits = [], False
    for line in script.splitlines():
        if _COMPILES.match(line):
            line, waits = f"{line} & compilers+=($!)", True
        elif waits and line.strip():
            lines.append('for each in "${compilers[@]}"; do wait "$each" || exit 1; done')
            waits = False
        lines.append(line)
    return "\n".join(lines) + "\n"


def run_project(
    hls_model: Any,
    library: Path,
    arrays: Sequence[np.ndarray],
    traced: bool = True,
    limits: Limits = _UNLIMITED,
) -> Results:
    """Run a compiled project on every sample, in processes of their own, one for each processor.

    What is done is logged every ten seconds.

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
    limits
        What the simulation may need.

    Raises
    ------
    LimitExceededError
        It needs more.
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
    count = len(arrays[0])
    progress = Progress("simulated", count, "samples")
    parts = np.array_split(np.arange(count), max(min(os.cpu_count() or 1, count // _LEAST_PART), 1))
    with (
        tempfile.TemporaryDirectory(prefix="fabricfit-") as name,
        ThreadPoolExecutor(len(parts)) as pool,
    ):
        folder = Path(name)
        (folder / "project.json").write_text(json.dumps(described))

        def run(part: np.ndarray) -> Any:
            own = folder / str(part[0])
            own.mkdir()
            np.savez(own / "inputs.npz", **{f"{i:03}": x[part] for i, x in enumerate(arrays)})
            files = [folder / "project.json", own / "inputs.npz", own / "results.npz"]
            return _run_library(files, limits, progress)

        found = list(pool.map(run, parts))
    keys = [key for key in found[0] if key.startswith("layer/")]
    layers = {key.partition("/")[2]: np.concatenate([each[key] for each in found]) for key in keys}
    outputs = [
        np.concatenate([each[f"output/{i}"] for each in found])
        for i in range(len(described["outputs"]))
    ]
    return Results(layers, outputs)


def _run_library(files: Sequence[Path], limits: Limits, progress: Progress) -> dict[str, Any]:
    """Run the script that calls a library; return the arrays that it writes."""
    script = Path(__file__).with_name("_run_library.py")
    command = [sys.executable, str(script), *map(str, files)]

    def count(line: str) -> None:
        if line.startswith(SAMPLE_IS_DONE):
            progress.add(1)

    status, printed = run_bounded(command, limits, "simulating the generated code", on_line=count)
    if status:
        said = "".join(
            line for line in printed.splitlines(True) if not line.startswith(SAMPLE_IS_DONE)
        )
        raise FabricFitError(
            f"the generated code stopped with status {status}. Its output:\n{said[-_TAIL_CHARACTERS:]}"
        )
    with np.load(files[-1]) as found:
        return {key: found[key] for key in found.files}
