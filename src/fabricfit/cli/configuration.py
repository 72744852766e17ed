"""The file that describes a run: its schema, and a reader that names the line of every error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from fabricfit.cli.sections import (
    BudgetConfig,
    Count,
    DataConfig,
    LevelsConfig,
    Section,
    TrainingConfig,
)
from fabricfit.errors import InvalidInputError
from fabricfit.hls4ml.config import default_configuration
from fabricfit.hls4ml.plain import plain_configuration
from fabricfit.reading import CONFIGURATION, parse_toml, parse_yaml, read_text

__all__ = [
    "RunConfig",
    "dump",
    "parse",
    "parse_budget",
    "parse_data",
    "read_config",
    "read_hls4ml",
    "schema",
]

_Kind = TypeVar("_Kind", bound=Section)

_COMMAND = "the command"
_MOST_ERRORS = 20
"""Errors that are told at once."""
_OPTIONS = {
    ("data", "source"): "data",
    ("hls4ml",): "hls-config",
    ("directory",): "output",
    ("plugins",): "plugin",
}
"""Settings whose options have other names."""


class RunConfig(Section):
    """A run of ``fabricfit optimize``."""

    model: str = Field(
        description="A .keras or .h5 file, a .json with its weights, a SavedModel or an hls4ml project."
    )
    weights: str | None = Field(default=None, description="Weights of a .json model, if elsewhere.")
    data: DataConfig
    budget: BudgetConfig | None = None
    objective: Literal["parameters", "flops", "bit_operations", "dsp", "unit_dsp"] | None = Field(
        default=None, description="Resource to save where there is no budget."
    )
    hls4ml: dict[str, Any] | str | None = Field(
        default=None, description="hls4ml's configuration, or a .json or .yaml file of it."
    )
    precision: Literal["given", "trained", "chosen"] = Field(
        default="given",
        description="Whether number formats are those of hls4ml's configuration, or are trained; or the "
        "whole design is chosen.",
    )
    designs: Count = Field(default=4, description="How many designs compete where it is chosen.")
    granularity: Literal["tensor", "channel"] = Field(
        default="tensor", description="What has a trained number format of its own."
    )
    saturating: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.02, description="Part of the inputs that may saturate, with trained precision."
    )
    overflow: Literal["saturate", "wrap"] = Field(
        default="saturate",
        description="What becomes of numbers inside the network beyond their trained formats.",
    )
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig())
    levels: LevelsConfig | None = None
    directory: str | None = Field(default=None, description="Where runs make their folders.")
    plugins: list[str] = Field(
        default_factory=list,
        description="Modules to import first, such as qkeras, hgq or one's own.",
    )

    @model_validator(mode="after")
    def _require_one_goal(self) -> RunConfig:
        if (self.budget is None) == (self.objective is None):
            raise ValueError("exactly one of a budget and an objective is needed")
        if self.precision != "given" and (self.budget is None or self.levels is not None):
            raise ValueError(f"precision: {self.precision} needs a budget, and has no levels")
        return self


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, with which editors complete it."""
    return RunConfig.model_json_schema()


def dump(config: RunConfig) -> str:
    """Return a configuration as YAML, without the values that are defaults."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def read_config(path: Path) -> RunConfig:
    """Read a ``.yaml``, ``.yml`` or ``.toml`` file; paths in it are relative to its folder.

    Raises
    ------
    InvalidInputError
        Names every error and the line that it is on.
    """
    read = parse_toml if path.suffix == ".toml" else parse_yaml
    values, lines = read(read_text(path, CONFIGURATION), str(path))
    return parse(values, lines, str(path), path.parent)


def parse(
    values: Any,
    lines: Mapping[tuple[Any, ...], int] | None = None,
    name: str = "the configuration",
    folder: Path | None = None,
) -> RunConfig:
    """Check nested values against the schema.

    Parameters
    ----------
    values
        Contents of the file.
    lines
        Path of each value -> the line that it is on.
    name
        Name of the file, for messages.
    folder
        Folder that relative paths start from; the working directory by default.

    Raises
    ------
    InvalidInputError
        Names every error and the line that it is on.
    """
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"{name} must hold names and values. Received: {type(values).__name__}"
        )
    config = _validate(RunConfig, values, lines or {}, name)
    return config if folder is None else _resolve_paths(config, folder)


def parse_budget(values: Mapping[str, Any]) -> BudgetConfig:
    """Check what options say of a budget against the schema.

    Parameters
    ----------
    values
        What the section ``budget`` holds.

    Raises
    ------
    InvalidInputError
        Names every error.
    """
    return _validate(BudgetConfig, dict(values), {}, _COMMAND, ("budget",))


def parse_data(values: Mapping[str, Any]) -> DataConfig | None:
    """Check what options say of samples, as :func:`parse_budget` does; None where they say nothing."""
    return _validate(DataConfig, dict(values), {}, _COMMAND, ("data",)) if values else None


def _validate(
    kind: type[_Kind],
    values: Any,
    lines: Mapping[tuple[Any, ...], int],
    name: str,
    inside: tuple[str, ...] = (),
) -> _Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        said = [_format_error(each, lines, name, inside) for each in errors[:_MOST_ERRORS]]
        if len(errors) > _MOST_ERRORS:
            said.append(f"{len(errors) - _MOST_ERRORS:,} more errors")
        raise InvalidInputError("\n".join(said)) from error


def _format_error(
    error: Any, lines: Mapping[tuple[Any, ...], int], name: str, inside: tuple[str, ...]
) -> str:
    named = (part for part in error["loc"] if not str(part).startswith("function-"))
    place = (*inside, *named)
    line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), None)
    where = f"{name}, line {line}: " if line else f"{name}: "
    what = ".".join(map(str, place)) or "the file"
    if name == _COMMAND:
        where, what = "", _name_option(place)
    message = error["msg"].removeprefix("Value error, ")
    if place and message.startswith(f"{place[-1]} "):  # a sentence about the value
        rest = message.removeprefix(f"{place[-1]} ")
        return f"{where}{what} {rest.replace(f'Received: {place[-1]}=', 'Received: ')}"
    if error["type"] == "extra_forbidden":
        message = "there is no such setting"
    if error["type"] == "missing":
        return f"{where}{what} is missing"
    received = repr(error["input"])
    if error["type"] == "value_error" or len(received) > 120:
        return f"{where}{what}: {message}"
    return f"{where}{what}: {message}. Received: {received}"


def _name_option(place: tuple[Any, ...]) -> str:
    """Return the option of a setting; the setting's own name where none says it."""
    texts = [str(part) for part in place if not isinstance(part, int)]
    if len(texts) > 2 or tuple(texts) in (("budget",), ()):
        return ".".join(texts) or _COMMAND
    name = _OPTIONS.get(tuple(texts), texts[-1])
    return f"--{name.replace('_', '-')}"


def _resolve_paths(config: RunConfig, folder: Path) -> RunConfig:
    """Return a configuration whose paths are absolute."""

    def resolve(name: str | None) -> str | None:
        if name is None or ":" in name:
            return name
        return str((folder / Path(name).expanduser()).absolute())

    data = config.data.model_copy(
        update={
            "source": resolve(config.data.source),
            "validation": resolve(config.data.validation),
        }
    )
    hls = resolve(config.hls4ml) if isinstance(config.hls4ml, str) else config.hls4ml
    return config.model_copy(
        update={
            "model": resolve(config.model),
            "weights": resolve(config.weights),
            "data": data,
            "hls4ml": hls,
            "directory": resolve(config.directory),
        }
    )


def read_hls4ml(given: dict[str, Any] | str | None) -> dict[str, Any]:
    """Return hls4ml's configuration as plain data, read from a file where a name is given.

    Raises
    ------
    InvalidInputError
        The file cannot be read.
    InvalidTypeError
        It holds something else.
    """
    return default_configuration() if given is None else plain_configuration(given)
