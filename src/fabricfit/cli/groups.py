"""Options that belong together, written once: a command names their group as one of its parameters."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

from fabricfit.cli.completion import complete_bindings, complete_devices, complete_tools
from fabricfit.errors import InvalidInputError

__all__ = ["AMOUNTS", "NO_BUDGET", "BudgetOptions", "SampleOptions", "has_limits", "with_groups"]


AMOUNTS = ("dsp", "bram18", "bram36", "uram", "lut", "ff")
"""Resources that options give amounts of."""

_AMOUNT_OPTIONS = ", ".join(f"--{name}" for name in AMOUNTS)

NO_BUDGET = f"a budget is needed: a --device, or amounts ({_AMOUNT_OPTIONS})."
"""What is said where a command has none."""


def _amount(name: str, what: str) -> Any:
    return typer.Option(f"--{name}", help=f"{what} that may be used.")


@dataclass(frozen=True)
class BudgetOptions:
    """What a model may use, and what it is built for and with."""

    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            help="The board or part, see 'fabricfit devices'.",
            autocompletion=complete_devices,
        ),
    ] = None
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Fraction of the device that may be used.")
    ] = None
    dsp: Annotated[float | None, _amount("dsp", "DSP blocks")] = None
    bram18: Annotated[float | None, _amount("bram18", "Block RAMs of 18 kbit")] = None
    bram36: Annotated[float | None, _amount("bram36", "Block RAMs of 36 kbit")] = None
    uram: Annotated[float | None, _amount("uram", "UltraRAMs")] = None
    lut: Annotated[float | None, _amount("lut", "LUTs")] = None
    ff: Annotated[float | None, _amount("ff", "Flip-flops")] = None
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            help="Part of the error bars that must fit, from 0 to 1 for their upper ends.",
        ),
    ] = None
    latency: Annotated[
        str | None,
        typer.Option("--latency", help="Longest time from a sample to its result, such as 1us."),
    ] = None
    interval: Annotated[
        str | None,
        typer.Option("--interval", help="Longest time between two samples, such as 25ns."),
    ] = None
    clock: Annotated[
        str | None,
        typer.Option("--clock", help="Clock, such as 200MHz, 5ns, or its period in nanoseconds."),
    ] = None
    tool: Annotated[
        str | None,
        typer.Option(
            "--tool",
            help="HLS compiler, such as 'Vitis HLS 2024.1'.",
            autocompletion=complete_tools,
        ),
    ] = None
    binding: Annotated[
        str | None,
        typer.Option(
            "--binding",
            help="What products are built from: auto, dsp or fabric.",
            autocompletion=complete_bindings,
        ),
    ] = None

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that are named, each once."""
        return tuple(dict.fromkeys(self.device or ()))

    def section(self, device: str | None = None) -> dict[str, Any]:
        """Return what was given, as the section ``budget`` of a configuration says it.

        Parameters
        ----------
        device
            The device that is meant, of several; by default the only one.

        Raises
        ------
        InvalidInputError
            There is a fraction of no device, a device beside amounts, or one of several devices is meant.
        """
        if device is None and len(self.devices) > 1:
            raise InvalidInputError(
                f"--device must be given once. Received: {', '.join(self.devices)}"
            )
        if self.fraction is not None and not self.devices:
            raise InvalidInputError("--fraction needs a --device.")
        amounts = [f"--{name}" for name in AMOUNTS if getattr(self, name) is not None]
        if self.devices and amounts:
            raise InvalidInputError(
                f"there must be a --device or amounts ({_AMOUNT_OPTIONS}), not both. "
                f"Received: --device and {', '.join(amounts)}"
            )
        chosen = device or next(iter(self.devices), None)
        found = {**vars(self), "device": chosen}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class SampleOptions:
    """Where samples are, and what is what of them."""

    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Samples: an .npz, .h5 or .parquet file, a folder of .npy files, or module:function.",
        ),
    ] = None
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            help="Array or column of the inputs in --data, X by default; for several inputs an option "
            "for each, as its name in the model or input=array.",
        ),
    ] = None
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--targets", help="Array or column of the targets, y by default; likewise for several."
        ),
    ] = None
    memory_gib: Annotated[
        float | None,
        typer.Option(
            "--memory-gib",
            help="Samples of more than so many GiB stay in their files, read block by block; 1 by "
            "default.",
        ),
    ] = None

    def section(self) -> dict[str, Any]:
        """Return what was given, as the section ``data`` of a configuration says it.

        Raises
        ------
        InvalidInputError
            Some names are pairs, and some are not.
        """
        found = {
            "source": self.data,
            "inputs": _read_names(self.inputs, "--inputs"),
            "targets": _read_names(self.targets, "--targets"),
            "memory_gib": self.memory_gib,
        }
        return {name: value for name, value in found.items() if value is not None}


def has_limits(section: Mapping[str, Any]) -> bool:
    """Whether a section ``budget`` limits resources, which deadlines alone do not."""
    return bool(section.keys() & {"device", "relative", *AMOUNTS})


def _read_names(given: list[str] | None, option: str) -> str | list[str] | dict[str, str] | None:
    """Return one name, several, or the names of arrays by those of inputs or outputs."""
    if not given:
        return None
    pairs = [each.partition("=") for each in given]
    paired = [bool(equals) for _, equals, _ in pairs]
    if all(paired):
        return {name.strip(): array.strip() for name, _, array in pairs}
    if any(paired):
        raise InvalidInputError(
            f"{option} must be names of arrays, or input=array for each. Received: {', '.join(given)}"
        )
    return given[0] if len(given) == 1 else given


def with_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command whose parameters that are groups of options are these options.

    Parameters
    ----------
    command
        A function for Typer, some of whose parameters are annotated with a class of this module.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        own = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                each.name, parameter.kind, default=each.default, annotation=own[each.name]
            )
            for each in dataclasses.fields(groups[name])
        ]

    @functools.wraps(command)
    def run(**given: Any) -> int:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **made)

    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
