"""The door to trained precision: whether it is asked for, for one budget or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabricfit.checks import one_of
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.network.plain_layers import list_quantizing
from fabricfit.network.reader import Network
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.trained_run import fit_trained
from fabricfit.optimization.trained_setup import TrainedFormats, set_up_trained

__all__ = ["PRECISIONS", "choose_precision", "fit_budgets", "fit_one", "refuse_given_only"]

PRECISIONS = ("given", "trained")
"""Where number formats come from: the configuration, or training."""

Data = tuple[Any, Any]


def choose_precision(asked: str | None, config: Mapping[str, Any], network: Network) -> str:
    """Return where number formats come from.

    Parameters
    ----------
    asked
        One of :data:`PRECISIONS`; None for ``'trained'`` where neither the configuration states a precision
        nor a layer of the model, which quantizes its own weights or tensors.
    config
        An opened configuration.
    network
        What was read of the model.

    Raises
    ------
    InvalidInputError
        There is no such choice; or the model's own layers state their precision, and nothing is said of how
        they are to be built.
    """
    if asked is not None:
        return str(one_of("precision", asked, PRECISIONS))
    quantizing = list_quantizing(network)
    if quantizing and not config:
        kind = type(network.layers[quantizing[0]]).__name__
        raise InvalidInputError(
            f"layer {quantizing[0]!r} ({kind}) states number formats of its own, which are kept by default, "
            "and hls_config does not say how they are to be built: give it hls4ml's configuration of the "
            "model. With precision='trained' number formats are trained anew, and none is needed."
        )
    return "given" if quantizing or any(_list_precisions(config)) else "trained"


def refuse_given_only(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that speak of levels, which a training of precision does not have."""
    named = [name for name, value in arguments.items() if value is not None]
    if named:
        raise InvalidInputError(
            f"{named[0]} is for runs with levels, which a training of precision is not: it goes along a path "
            f"of costs. Leave {named[0]} out, or use precision='given'."
        )


def fit_one(
    network: Network,
    config: dict[str, Any],
    budget: Budget,
    data: Data,
    settings: OptimizationSettings,
    formats: TrainedFormats,
    documents: Mapping[str, str] | None = None,
) -> OptimizationResult:
    """Train precision for one budget; the arguments are those of :func:`fabricfit.fit`, opened.

    Raises
    ------
    InfeasibleError
        The budget cannot be met.
    """
    (result,) = fit_budgets(network, config, [budget], data, settings, formats, documents)
    if isinstance(result, InfeasibleError):
        raise result
    return result


def fit_budgets(
    network: Network,
    config: dict[str, Any],
    budgets: Sequence[Budget],
    data: Data,
    settings: OptimizationSettings,
    formats: TrainedFormats,
    documents: Mapping[str, str] | None = None,
) -> list[OptimizationResult | InfeasibleError]:
    """Train precision once for several budgets; return what each of them gets."""
    setup = set_up_trained(network, config, budgets, data, settings, formats, documents)
    return fit_trained(setup)


def _list_precisions(section: Any) -> Iterator[str]:
    """Yield every precision that a configuration states."""
    if not isinstance(section, Mapping):
        return
    for key, value in section.items():
        if key == "Precision":
            stated = value.values() if isinstance(value, Mapping) else [value]
            yield from (str(each) for each in stated if str(each) != "auto")
        else:
            yield from _list_precisions(value)
