"""What can be told of a command's files before a backend is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fabricfit.cli.configuration import read_hls4ml
from fabricfit.cli.sections import DataConfig
from fabricfit.cli.sources import find_parts, is_module
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.loading.recognition import find_weights, recognize

__all__ = ["check_data", "check_model", "read_configuration"]


def check_model(model: str | Path, weights: str | Path | None = None) -> None:
    """Check that a file or folder looks like a model.

    Parameters
    ----------
    model, weights
        The model, and the file of its weights if it is named.

    Raises
    ------
    InvalidInputError
        It is not there, or holds no model that is read.
    """
    given = None if weights is None else Path(weights).expanduser()
    found = recognize(Path(model).expanduser(), given)
    if found.kind == "json" and given is not None:
        find_weights(found.path, given)


def read_configuration(path: Path | None) -> dict[str, Any] | None:
    """Return the configuration of hls4ml that an option names; None without it.

    Raises
    ------
    InvalidInputError
        It cannot be read.
    """
    with _naming("--hls-config" if path is not None else ""):
        return None if path is None else read_hls4ml(str(path))


def check_data(config: DataConfig | None, option: str = "--data") -> None:
    """Check that files of samples hold the arrays that are named; functions are left alone.

    Parameters
    ----------
    config
        The sources, if there are any.
    option
        The option that names them; '' where a file does.

    Raises
    ------
    InvalidInputError
        A file is not there, or does not hold them.
    """
    if config is None:
        return
    sources = [each for each in (config.source, config.validation) if each is not None]
    with _naming(option):
        if not any(map(is_module, sources)):
            find_parts(config)
        for each in sources:
            if not is_module(each) and not Path(each).expanduser().exists():
                raise InvalidInputError(f"there are no data at {each}.")


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Name an option, if there is one, in what is said of its value."""
    try:
        yield
    except FabricFitError as error:
        if not option:
            raise
        raise InvalidInputError(f"{option}: {error}") from error
