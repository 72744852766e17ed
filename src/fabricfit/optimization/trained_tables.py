"""Formats of activations that read tables, which a training of precision leaves open: those of calibration.

What is trained are the bits in front of products. A softmax, a sigmoid or a tanh comes behind them: hls4ml
reads it from tables of 1,024 entries, and where these are addressed by sums of 20 and more bits, neighbouring
sums become the same.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from fabricfit.calibration import calibrate
from fabricfit.calibration.building import find_tabulated
from fabricfit.errors import FabricFitError
from fabricfit.network.reader import Network
from fabricfit.optimization.settings import OptimizationSettings

__all__ = ["settle_tables"]

logger = logging.getLogger(__name__)

_SAMPLES = 1024


def settle_tables(
    network: Network, config: Mapping[str, Any], data: Any, settings: OptimizationSettings
) -> dict[str, Any]:
    """Return a configuration with formats of tables, of what is read from them and of what they receive.

    Parameters
    ----------
    network
        The network, its weights on their grids.
    config
        hls4ml's configuration of it; what it states is kept.
    data
        Samples for training.
    settings
        They say what counts.
    """
    merged = copy.deepcopy(dict(config))
    nodes = list(_list_nodes(network))
    if not nodes:
        return merged
    try:
        found = calibrate(
            network.model,
            data,
            config,
            loss=settings.loss_fn,
            metric=settings.validation_metric,
            samples=_SAMPLES,
        )
    except FabricFitError as error:
        logger.info("formats of tables are hls4ml's own: %s", error)
        return merged
    sections = merged.get("HLSConfig", merged)["LayerName"]
    calibrated = found.config.get("HLSConfig", found.config)["LayerName"]
    for node, received in nodes:
        sections[node] = {**sections.get(node, {}), **calibrated.get(node, {})}
        known = calibrated.get(received, {}).get("Precision", {})
        if "result" in known:
            sections[received]["Precision"]["result"] = known["result"]
    return merged


def _list_nodes(network: Network) -> Iterator[tuple[str, str]]:
    """Yield hls4ml's names of activations that read tables, and of what computes the numbers they receive."""
    names = {id(named.call): named for named in network.node_names.calls}
    for named in network.node_names.calls:
        layer = named.call.layer
        if find_tabulated(layer) is None:
            continue
        if named.activation:
            yield named.activation, named.node
        elif not layer.weights and named.call.inputs:
            source = names.get(id(network.graph.producer(named.call.inputs[0].index)))
            if source is not None:
                yield named.node, source.activation or source.node
