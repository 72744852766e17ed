"""A fitted model as a project of hls4ml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fabricfit.checks import file_path, text
from fabricfit.errors import FabricFitError, RunDirectoryError
from fabricfit.firmware.accelerator import project_options
from fabricfit.firmware.simulation import CapturedOutput, convert, resolve_io_type
from fabricfit.firmware.verification_input import check_stated
from fabricfit.hls4ml.backends import find_backend, read_backend
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.network.configuration import open_configuration
from fabricfit.network.finite import open_network

__all__ = ["to_hls4ml"]


def to_hls4ml(
    model: Any,
    hls_config: ConfigurationLike,
    folder: str | os.PathLike[str],
    *,
    backend: str | None = None,
    io_type: str | None = None,
    part: str | None = None,
) -> Any:
    """Convert a model with hls4ml, and write the project.

    Parameters
    ----------
    model
        A Keras model.
    hls_config
        hls4ml's configuration, or a file of it.
    folder
        The project's folder, new or empty.
    backend, io_type, part
        What the project is for; by default what the configuration says, as for :func:`fabricfit.verify`.

    Returns
    -------
    hls4ml.model.ModelGraph
        hls4ml's own model: its ``compile()``, ``predict()`` and ``build()`` go on from here.

    Raises
    ------
    RunDirectoryError
        The folder holds something, or cannot be made.
    MissingExtraError
        hls4ml is not installed.
    FabricFitError
        hls4ml refuses the model or the configuration.
    """
    path, output = file_path("folder", folder), CapturedOutput()
    _require_empty(path)
    if part is not None:
        text("part", part)
    network = open_network(model)
    config = open_configuration(hls_config, network)
    check_stated(config)
    backend = (read_backend(config) if backend is None else find_backend(backend)).name
    kind = resolve_io_type(config, io_type)
    options = project_options(backend, config, part, network.model)
    hls_model = convert(
        network.model,
        config.get("HLSConfig", config),
        path.resolve(),
        output,
        backend=backend,
        io_type=kind,
        written=False,
        options=options,
    )
    try:
        with output.capture():
            hls_model.write()
    except Exception as error:  # what hls4ml's writers raise has no common type
        raise FabricFitError(f"hls4ml cannot write the project {path}: {error}") from error
    return hls_model


def _require_empty(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{path} is a file, not a folder. Name another one.")
    if path.exists() and any(path.iterdir()):
        raise RunDirectoryError(
            f"{path} is not empty, and is left as it is. Name an empty folder or a new one."
        )
