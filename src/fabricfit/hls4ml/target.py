"""What a design is built for and with, as far as an hls4ml configuration says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.devices import family_of_part
from fabricfit.hardware.families import families
from fabricfit.hardware.targets import Target, check_clock, find_target
from fabricfit.hardware.tools import find_tool
from fabricfit.hls4ml.backends import read_backend, read_part

__all__ = ["choose_budget", "choose_target", "read_target"]


def read_target(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration says of the parameters of :class:`fabricfit.hardware.Target`.

    ``'Part'`` (of an accelerator its board), ``'ClockPeriod'`` in nanoseconds, and ``'Backend'``, whose
    newest version with laws stands for the compiler.

    Parameters
    ----------
    config
        A configuration that is plain data already.

    Raises
    ------
    InvalidInputError
        hls4ml has no such backend or board, or the clock period is no number.
    """
    inner = config.get("HLSConfig", config)
    whole = {**inner, **config}
    stated: dict[str, Any] = {}
    backend = read_backend(whole) if whole.get("Backend") else None
    part = read_part(whole) or (backend.default_part if backend is not None else None)
    if part is not None:
        stated["part"] = part
        with contextlib.suppress(InvalidInputError):  # the backend's note says what is known
            stated["family"] = _find_family(part)
    if backend is not None and backend.compiler.startswith(("Vitis", "Vivado")):
        stated |= {"tool": find_tool(backend.name).name, "unbuilt": backend.stops_at}
    if (clock := whole.get("ClockPeriod")) is not None:
        stated["clock_ns"] = _read_clock(clock)
    return stated


def choose_target(
    config: Mapping[str, Any],
    budget: Budget | None = None,
    *,
    family: str | None = None,
    part: str | None = None,
    **asked: Any,
) -> Target:
    """Return what a design is built for and with.

    What is asked for goes first, then what the budget says, then the configuration, then a board's usual
    clock, then the defaults.

    Parameters
    ----------
    config
        A configuration that is plain data already.
    budget
        The limits, if any.
    family, part, **asked
        Parameters of :class:`fabricfit.hardware.Target`; None where they are not asked for.

    Raises
    ------
    InvalidInputError
        A name is not known, or the clock is not above 0.
    """
    stated = read_target(config)
    if part is not None:
        stated |= {"part": part, "family": family_of_part(part)}
    if family is not None:
        stated["family"] = find_target(family).family
    given = {name: value for name, value in {**asked, "part": part}.items() if value is not None}
    if budget is not None and family is None and part is None:
        found = budget.target_with(stated)
    else:
        plain = Budget(dsp=0) if budget is None else budget.without_family()
        found = plain.target_with(stated)
    return replace(found, **given)


def choose_budget(
    config: Mapping[str, Any], budget: Budget, *, margin: float | None = None, **asked: Any
) -> Budget:
    """Return a budget that says what the design is built for and with, see :func:`choose_target`.

    With a margin, it is of so much of the error bars; else as the budget says.
    """
    chosen = budget.with_target(choose_target(config, budget, **asked))
    return chosen if margin is None else chosen.with_margin(margin)


def _find_family(part: str) -> str:
    """Return the family of a part, which hls4ml's Intel backends name instead."""
    return part.lower() if part.lower() in families() else family_of_part(part)


def _read_clock(clock: Any) -> float:
    """Return a clock's period in nanoseconds, also where a file has it as a text."""
    with contextlib.suppress(ValueError):  # a text that is no clock, which is said below
        clock = float(clock) if isinstance(clock, str) else clock
    return check_clock("config['ClockPeriod']", clock)
