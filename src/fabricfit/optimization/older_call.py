"""The order of arguments that ``fabricfit.fit`` had before, which serves for one release."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from fabricfit.errors import InvalidTypeError
from fabricfit.hardware.budget import Budget

__all__ = ["accept_older_order"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_OLDER = ("hls_config", "budget", "train_data", "validation_data", "settings")


def accept_older_order(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let ``fit(model, train_data, validation_data, budget, settings)`` also accept the older order.

    That was ``(model, hls_config, budget, train_data, validation_data, settings)``. It is told apart by the
    budget in the second place behind the model, by the settings in the fifth, or because arguments that come
    behind the first one are given by name.
    """

    @functools.wraps(function)
    def accepting(*args: Any, **kwargs: Any) -> Result:
        if _is_older(args[1:], kwargs):
            warnings.warn(
                "fit(model, hls_config, budget, train_data, validation_data, settings) is now fit(model, "
                "train_data, validation_data, budget, settings, hls_config=…); the older order goes with the "
                "next release.",
                DeprecationWarning,
                stacklevel=2,
            )
            args, kwargs = args[:1], _name_arguments(args[1:], kwargs)
        return function(*args, **kwargs)

    return accepting


def _is_older(ordered: tuple[Any, ...], named: dict[str, Any]) -> bool:
    if len(ordered) > 1 and isinstance(ordered[1], Budget):
        return True
    if len(ordered) > 4 or (len(ordered) > 3 and "settings" in named):
        return True
    return bool(ordered) and "train_data" in named


def _name_arguments(ordered: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    if len(ordered) > len(_OLDER):
        raise InvalidTypeError(
            f"fit takes at most {len(_OLDER) + 1} arguments by their order. Received: {len(ordered) + 1}"
        )
    found = dict(zip(_OLDER, ordered, strict=False))
    if twice := sorted(found.keys() & named.keys()):
        raise InvalidTypeError(f"fit received {twice[0]} twice.")
    return {**found, **named}
