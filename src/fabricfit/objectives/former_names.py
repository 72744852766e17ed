"""Former names of the methods of objectives that were estimators by class methods: for one release."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

__all__ = ["FormerNames"]

_FORMER = {
    "is_layer_optimizable": "groups",
    "layer_resources": "usage",
    "layer_use": "usage",
    "layer_savings": "saving",
    "layer_utilization": "usage_without",
    "model_utilization": "model_usage_without",
    "model_use": "model_usage",
    "reduced_utilization": "reduced_usage",
    "layer_choices": "choices",
    "treated_use": "treated_usage",
}
"""Former name of a method -> what it is now."""


class FormerNames:
    """Serves the former names of an objective's methods, with a ``DeprecationWarning``.

    A subclass that defines one of them is warned too: nothing calls it any more.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _FORMER.keys() & vars(cls).keys():
            warnings.warn(
                f"{cls.__name__}.{name} is not called any more; define {_FORMER[name]} instead.",
                DeprecationWarning,
                stacklevel=2,
            )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in _FORMER:
                kind = type(self).__name__
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            warnings.warn(
                f"{type(self).__name__}.{name} is now {_FORMER[name]}, which returns an array; the old "
                "name goes with the next release.",
                DeprecationWarning,
                stacklevel=2,
            )
            return _answer_as_before(name, getattr(self, _FORMER[name]))


def _answer_as_before(name: str, method: Any) -> Any:
    """Return a method that answers as the one of the former name did."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        found = method(*args, **kwargs)
        if name == "is_layer_optimizable":
            return found is not None, found
        return found if name in ("layer_choices", "treated_use") else found.tolist()

    return answer
