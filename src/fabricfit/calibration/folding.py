"""The network as hls4ml builds it: normalizations folded where results may be as wide as sums."""

from __future__ import annotations

from typing import Any

from fabricfit.calibration.statements import Statements
from fabricfit.calibration.tensors import kernel_of, takes_sums
from fabricfit.network.as_built import folded_by_hls4ml
from fabricfit.network.batch_norm import Fold, find_folds, fold_normalizations
from fabricfit.network.cloning import copy_model
from fabricfit.network.configuration import without_layers
from fabricfit.network.describe import describe_network
from fabricfit.network.reader import Network, read

__all__ = ["as_built", "forget_folded"]


def as_built(network: Network, statements: Statements) -> tuple[Network, frozenset[str]]:
    """Return a copy of a network without the normalizations that hls4ml folds, and the layers they are in.

    hls4ml folds a normalization into the layer before it if the format of that layer's results is left to
    it: they are then as wide as the sums. That suits where only rectifiers and sums receive them, which
    round; all other normalizations are layers of their own, with results of their own format.

    Parameters
    ----------
    network
        What was read of the model.
    statements
        What is stated of it.
    """
    folds = find_folds(network)
    if not folds:
        return read(copy_model(network.model)), frozenset()
    opened = statements.with_formats(
        {
            (named.node, "result"): "auto"
            for named in network.node_names.calls
            if kernel_of(named.call.layer) is not None
        },
        {},
    )
    by_hls4ml = folded_by_hls4ml(network, opened, describe_network(network))
    chosen: list[Fold] = []

    def choose(fold: Fold) -> Fold | None:
        found = by_hls4ml(fold) if kernel_of(fold.layer) is not None else None
        if found is None or not _goes_to_sums(network, found):
            return None
        chosen.append(found)
        return found

    made = fold_normalizations(network, choose)
    names = frozenset(network.names[id(fold.layer)] for fold in chosen)
    return (read(copy_model(network.model)) if made is network else made), names


def forget_folded(config: dict[str, Any], network: Network, built: Network) -> None:
    """Remove the sections of normalizations that are folded, and of their type where none is left, in place.

    Parameters
    ----------
    config
        An opened configuration.
    network, built
        The network as it was given, and as hls4ml builds it.
    """
    without_layers(config, network, network.layers.keys() - built.layers.keys())
    kinds = {type(layer).__name__ for layer in built.layers.values()}
    of_types = config.get("HLSConfig", config).get("LayerType") or {}
    for layer in network.layers.values():
        if type(layer).__name__ not in kinds:
            of_types.pop(type(layer).__name__, None)


def _goes_to_sums(network: Network, fold: Fold) -> bool:
    last, graph = fold.scalings[-1].layer, network.graph
    made = [call.output.index for call in graph.calls if call.layer is last]
    return all(
        index not in graph.outputs
        and all(takes_sums(receiver.layer) for receiver in graph.receivers(index))
        for index in made
    )
