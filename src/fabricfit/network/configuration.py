"""The door for configurations of hls4ml: made plain, checked, and compared with the model they are for."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping
from typing import Any

from fabricfit.errors import InvalidInputError, warn_caller
from fabricfit.hls4ml.checking import (
    ConfigurableLayer,
    ConfigurationWarning,
    check_values,
    find_unused_sections,
    spell_sections,
)
from fabricfit.hls4ml.plain import ConfigurationLike, plain_configuration
from fabricfit.layers import family_of
from fabricfit.network.reader import Network

__all__ = [
    "carry_sections",
    "open_configuration",
    "state_every_call",
    "unstated_calls",
    "without_layers",
]


def open_configuration(
    config: ConfigurationLike, network: Network, *, lenient: bool = False
) -> dict[str, Any]:
    """Return a configuration as plain data in hls4ml's own spelling, after every key of it was checked.

    Every function that is given a configuration reads it through here, and hands on what comes out.

    Parameters
    ----------
    config
        What ``hls4ml.utils.config_from_keras_model`` returns at any granularity; a whole project's
        configuration with that under ``'HLSConfig'``; a file of either, such as ``hls4ml_config.yml``, or the
        folder that holds it. It is not changed.
    network
        What was read of the model that it is for.
    lenient
        Whether a section that fits no layer is warned of, instead of refused.

    Raises
    ------
    InvalidTypeError
        It is no dictionary, or holds something that is no plain data.
    InvalidInputError
        A key or a value is unknown to hls4ml, or a section fits no layer of the model; the message suggests
        the nearest that there is.

    Warns
    -----
    ConfigurationWarning
        A section fits no layer.
    """
    opened, layers = plain_configuration(config), _list_layers(network)
    check_values(opened, layers)
    spell_sections(opened, layers)
    for sentence in find_unused_sections(opened, layers):
        end = "" if sentence.endswith("?") else "."
        message = f"{sentence}{end} hls4ml passes over such a section without a word."
        if not lenient:
            raise InvalidInputError(message)
        warn_caller(message, ConfigurationWarning)
    return opened


def unstated_calls(config: Mapping[str, Any], network: Network) -> Iterator[tuple[str, str]]:
    """Yield names of sections and of further calls of the same layers that have none.

    hls4ml builds a layer for each call, under names of its own: a section of the first call is not that of
    the others, which are built as their type or the model says.
    """
    sections = config.get("HLSConfig", config).get("LayerName", {})
    for first, *others in network.node_names.by_layer.values():
        for other in others:
            for stated, name in ((first.node, other.node), (first.activation, other.activation)):
                if sections.get(stated) and name not in sections:
                    yield stated, name


def state_every_call(config: dict[str, Any], network: Network) -> tuple[str, ...]:
    """Give further calls of layers the sections of the first ones, where they have none, in place.

    Returns
    -------
    tuple of str
        What was done, in sentences.
    """
    inner = config.get("HLSConfig", config)
    remarks = []
    for stated, name in [*unstated_calls(config, network)]:
        inner["LayerName"][name] = copy.deepcopy(inner["LayerName"][stated])
        remarks.append(
            f"{name!r}, as hls4ml calls another call of the layer of {stated!r}, is built as that one is"
        )
    return tuple(remarks)


def without_layers(config: dict[str, Any], network: Network, gone: Container[str]) -> None:
    """Remove the sections of layers that are part of others now, in place.

    Parameters
    ----------
    config
        An opened configuration.
    network
        What was read of the model that has the layers still.
    gone
        Their names in the network.
    """
    inner = config.get("HLSConfig", config)
    names = {
        name
        for own, layer in network.layers.items()
        if own in gone
        for named in network.node_names.by_layer.get(id(layer), ())
        for name in (named.node, named.activation)
    }
    for name in names & set(inner.get("LayerName", {})):
        del inner["LayerName"][name]


def carry_sections(
    config: dict[str, Any], network: Network, made: Network, parts: Mapping[str, tuple[str, ...]]
) -> None:
    """Give what a configuration says of layers to those in their places, in place.

    What it says of number formats is left out: they are formats of other numbers. Sections that fit nothing
    any more are removed.

    Parameters
    ----------
    config
        An opened configuration.
    network
        What was read of the model that the configuration is for.
    made
        The network that it became.
    parts
        Name of a layer that is another one now -> the names of the layers in its place.
    """
    inner = config.get("HLSConfig", config)
    sections, of_types = inner.get("LayerName", {}), inner.get("LayerType", {})
    carried: dict[str, Any] = {}
    known = _names_in(made)
    for name, new in parts.items():
        layer = network.layers[name]
        said = {**of_types.get(type(layer).__name__, {}), **sections.get(str(layer.name), {})}
        said.pop("Precision", None)
        stated = [each for each in new if each in known and (said or each in sections)]
        carried |= {each: copy.deepcopy(said) for each in stated}
    for name in _names_in(network) - known:
        sections.pop(name, None)
    for kind in _kinds_in(network) - _kinds_in(made):
        of_types.pop(kind, None)
    if carried:
        inner["LayerName"] = {**sections, **carried}


def _names_in(network: Network) -> set[str]:
    return {name for layer in _list_layers(network) for name in layer.names}


def _kinds_in(network: Network) -> set[str]:
    return {layer.kind for layer in _list_layers(network)}


def _list_layers(network: Network) -> list[ConfigurableLayer]:
    """Return what of each layer a configuration may speak of."""
    found = []
    for calls in network.node_names.by_layer.values():
        layer = calls[0].call.layer
        names = [name for named in calls for name in (named.node, named.activation) if name]
        names += [f"{named.node}_linear" for named in calls]
        if "Separable" in type(layer).__name__:
            names += [f"{c.node}_{part}" for c in calls for part in ("depthwise", "pointwise")]
        names += [each.name for each in _find_inner_layers(layer)]
        family, package = family_of(layer), type(layer).__module__.partition(".")[0]
        found.append(
            ConfigurableLayer(
                type(layer).__name__,
                tuple(names),
                known=family is not None,
                open_ended=family is None or package != "keras",
            )
        )
    return found


def _find_inner_layers(layer: Any) -> list[Any]:
    flatten = getattr(layer, "_flatten_layers", None)
    return [] if flatten is None else list(flatten(include_self=False))
