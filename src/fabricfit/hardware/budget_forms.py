"""Budgets as people write them: the name of a board, amounts and percentages by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell, unknown_name
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.devices import Device
from fabricfit.hardware.resource_records import amount_names

__all__ = ["BudgetLike", "as_budget"]

BudgetLike = Budget | Device | str | Mapping[str, Any]
"""A budget in any form that :func:`as_budget` reads."""

_TIMES = ("latency", "interval", "clock")
_OF_DEVICE = ("device", "fraction")


def as_budget(given: Any, argument: str = "budget") -> Budget:
    """Return a budget from any form of it.

    Parameters
    ----------
    given
        A :class:`Budget`; a :class:`Device` or the name of a board or part, ``'pynq-z2'``, also with the part
        of it that may be used, ``'pynq-z2@80%'``; or a mapping: resources -> how many (``{'dsp': 100}``), or
        all of them -> the part of what the model uses (``{'dsp': '50%'}``), or ``'device'`` and
        ``'fraction'``, each with ``'latency'``, ``'interval'`` and ``'clock'`` if they matter.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidInputError
        A name is not known, a number is out of range, or amounts and percentages are mixed.
    InvalidTypeError
        It is none of these.

    Examples
    --------
    >>> as_budget("pynq-z2@80%").limits({})["dsp"]
    176.0
    >>> as_budget({"dsp": 100, "latency": "1us"})
    Budget(dsp=100, latency='1us')
    >>> as_budget({"dsp": "50%", "lut": "25%"})
    Budget.relative(dsp=0.5, lut=0.25)
    """
    if isinstance(given, Budget):
        return given
    if isinstance(given, Device):
        return Budget.device(given)
    if isinstance(given, str):
        name, at, part = given.partition("@")
        return Budget.device(name.strip(), _read_fraction(part, argument) if at else 1.0)
    if isinstance(given, Mapping):
        return _read_mapping(given, argument)
    raise InvalidTypeError(
        f"{argument} must be a fabricfit.Budget, the name of a board ('pynq-z2', 'pynq-z2@80%'), or a "
        f"mapping such as {{'dsp': 100}} or {{'dsp': '50%'}}. Received: {spell(given)}"
    )


def _read_mapping(given: Mapping[str, Any], argument: str) -> Budget:
    known = (*amount_names(), *_TIMES, *_OF_DEVICE)
    for name in given:
        if name not in known:
            raise unknown_name(f"a key of {argument}", name, known)
    times = {name: given[name] for name in _TIMES if name in given}
    amounts = {name: value for name, value in given.items() if name in amount_names()}
    if "device" in given:
        if amounts:
            raise InvalidInputError(
                f"{argument} must name a device or amounts, not both. Received: {spell(dict(given))}"
            )
        part = given.get("fraction", 1.0)
        fraction = _read_fraction(part, argument) if isinstance(part, str) else part
        return Budget.device(given["device"], fraction, **times)
    if "fraction" in given:
        raise InvalidInputError(
            f"{argument} must name the device that 'fraction' is of. Received: {spell(dict(given))}"
        )
    parts = {name: value for name, value in amounts.items() if isinstance(value, str)}
    if not parts:
        return Budget(**amounts, **times)
    if len(parts) < len(amounts):
        raise InvalidInputError(
            f"{argument} must hold amounts or percentages, not both. Received: {spell(dict(given))}"
        )
    fractions: dict[str, Any] = {
        name: _read_fraction(value, argument) for name, value in parts.items()
    }
    return Budget.relative(**fractions, **times)


def _read_fraction(text: str, argument: str) -> float:
    """Return what ``'80%'`` or ``'0.8'`` means."""
    number, percent, rest = text.strip().partition("%")
    try:
        if rest:
            raise ValueError
        return float(number) / (100 if percent else 1)
    except ValueError:
        raise InvalidInputError(
            f"{argument} must state a part as in '80%' or '0.8'. Received: {spell(text)}"
        ) from None
