"""A network as hls4ml builds it, computed bit for bit: what accuracy in hardware is measured with.

hls4ml converts the model, which settles every number format; nothing is written or compiled. Its layers are
then computed in integer arithmetic (:mod:`fabricfit.firmware.emulation`), a batch at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation import FixedTensor, emulate_network
from fabricfit.firmware.metrics import default_metric, evaluate_outputs
from fabricfit.firmware.simulation import CapturedOutput, convert
from fabricfit.firmware.verification_input import check_stated
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.network.replay import replay
from fabricfit.samples import Dataset, Door, open_data

__all__ = ["QuantizedNetwork", "evaluate"]

_BY_GRAPH, _WRITTEN_OUT = "distributed_arithmetic", "resource_unrolled"
_NEVER_BY_GRAPH = ("DepthwiseConv1D", "DepthwiseConv2D")
"""Node classes that hls4ml builds with Latency where distributed arithmetic is asked for."""

_BATCH = 4096
_NUMBERS_AT_ONCE = 2**22


class QuantizedNetwork:
    """A network as hls4ml builds it.

    Parameters
    ----------
    network
        What was read of the model; its weights are quantized here.
    hls_config
        hls4ml's configuration, opened.
    backend
        hls4ml's backend.

    Raises
    ------
    MissingExtraError
        hls4ml is not installed.
    FabricFitError
        hls4ml refuses the model.
    """

    def __init__(
        self, network: Network, hls_config: Mapping[str, Any], backend: str = "Vitis"
    ) -> None:
        self.network = network
        strategies = _list_strategies(network, hls_config)
        unrolled = {name for name, strategy in strategies.items() if strategy == _WRITTEN_OUT}
        config = _without_graphs(hls_config.get("HLSConfig", hls_config))
        with tempfile.TemporaryDirectory(prefix="fabricfit-") as folder:
            self._converted = convert(
                network.model,
                _with_shared_multipliers(config, unrolled),
                Path(folder),
                CapturedOutput(),
                backend=backend,
                io_type=read_io_type(hls_config),
                written=False,
            )
        for node in self._converted.get_layers():
            strategy = strategies.get(node.name)
            by_graph = strategy == _BY_GRAPH and node.class_name not in _NEVER_BY_GRAPH
            if by_graph or node.name in unrolled:
                node.set_attr("strategy", strategy)

    @property
    def graph(self) -> Any:
        """hls4ml's resolved graph of the network."""
        return self._converted

    def compute(
        self, arrays: Sequence[np.ndarray], layers: Sequence[str], without: Sequence[str] = ()
    ) -> list[FixedTensor]:
        """Return the results of layers of hls4ml's graph, bit for bit, a tensor for each.

        Parameters
        ----------
        arrays
            An array for each input, samples first.
        layers
            The layers.
        without
            Layers that are not computed; none that is may need them.

        Raises
        ------
        InvalidInputError
            A layer is not modelled; the message names it.
        """
        given = [np.asarray(array, np.float64) for array in arrays]
        nodes = {node.name: node for node in self._converted.get_layers()}
        zeros = {
            name: np.zeros(
                (len(given[0]), *(int(n) for n in nodes[name].get_output_variable().shape))
            )
            for name in without
        }
        found = emulate_network(self.network, self._converted, given, zeros).layers
        return [found[name] for name in layers]

    def predict(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, float64 and exact, an array for each.

        Parameters
        ----------
        arrays
            An array for each input, samples first.

        Raises
        ------
        InvalidInputError
            A layer is not modelled; the message names it.
        """
        numbers = sum(array[:1].size for array in arrays)
        size = min(max(_NUMBERS_AT_ONCE // max(numbers, 1), 1), _BATCH)
        parts = [
            self._predict_batch([array[start : start + size] for array in arrays])
            for start in range(0, len(arrays[0]), size)
        ]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def evaluate(
        self, data: Dataset, metric: ModelMetric, loss: ModelLoss | None = None
    ) -> dict[str, float]:
        """Return what a metric consists of over all samples, by name.

        Parameters
        ----------
        data
            Inputs and targets.
        metric, loss
            As for :func:`~fabricfit.firmware.metrics.measure`.

        Raises
        ------
        InvalidInputError
            A layer is not modelled; the message names it.
        """
        return evaluate_outputs(self.predict, data, metric, loss)

    def _predict_batch(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        given = [np.asarray(array, np.float64) for array in arrays]
        found = emulate_network(self.network, self._converted, given)
        shapes = self.network.ends.outputs.shapes
        by_variable = {
            name: found.layers[node.name]
            for node in self._converted.get_layers()
            for name in node.outputs
        }
        return [
            by_variable[name].to_float().reshape(-1, *(size or 1 for size in shape))
            for name, shape in zip(self._converted.outputs, shapes, strict=True)
        ]


def evaluate(
    model: Any,
    hls_config: ConfigurationLike,
    X: Any,
    y: Any,
    metric: Any = None,
    *,
    weights: Any = None,
) -> dict[str, float]:
    """Return what the network that hls4ml builds is worth, bit for bit, and Keras' floats beside it.

    Parameters
    ----------
    model
        A Keras model.
    hls_config
        hls4ml's configuration, or a file of it.
    X, y, weights
        Samples, targets, and weights of samples, in any structure that Keras accepts.
    metric
        As for :class:`fabricfit.OptimizationSettings`. By default the accuracy where targets are whole
        numbers, else the mean squared error.

    Returns
    -------
    dict
        Name of a metric -> its value for the quantized network, and ``'float_'`` and that name -> its value
        for the model as Keras computes it.

    Raises
    ------
    InvalidInputError
        X and y do not fit the model, or a layer is not emulated.
    MissingExtraError
        hls4ml is not installed.
    """
    network = open_network(model)
    config = open_configuration(hls_config, network)
    check_stated(config)
    if y is None:
        raise InvalidInputError("y must hold the targets of X. Received: y=None")
    data = open_data((X, y) if weights is None else (X, y, weights), "", Door(network.ends))
    described = default_metric([data.head(_BATCH).y.labels]) if metric is None else metric
    chosen = ModelMetric(described, network.ends.outputs)
    quantized = QuantizedNetwork(network, config).evaluate(data, chosen)
    exact = evaluate_outputs(lambda arrays: replay(network.graph, arrays), data, chosen)
    return {**quantized, **{f"float_{name}": value for name, value in exact.items()}}


def _without_graphs(config: Any) -> Any:
    """Return a configuration without distributed arithmetic, whose graphs take long to find.

    They are for the number of adders; that sums are exact is all that matters here.
    """
    if isinstance(config, Mapping):
        return {
            key: "Latency"
            if key == "Strategy" and canonical_strategy(str(value)) == _BY_GRAPH
            else _without_graphs(value)
            for key, value in config.items()
        }
    return config


def _with_shared_multipliers(config: Mapping[str, Any], unrolled: Collection[str]) -> Any:
    """Return a configuration whose ResourceUnrolled layers are built with Resource.

    Both compute the same; hls4ml writes out each product of the former, in a time that grows with the square
    of their number.
    """
    if not unrolled:
        return config
    sections = dict(config.get("LayerName", {}))
    sections |= {name: {**sections.get(name, {}), "Strategy": "Resource"} for name in unrolled}
    return {**config, "LayerName": sections}


def _list_strategies(network: Network, hls_config: Mapping[str, Any]) -> dict[str, str]:
    """Return the strategy that each layer is built with, by hls4ml's names."""
    attributes = describe_for_hls4ml(network, hls_config)
    return {
        call.hls4ml_name: canonical_strategy(call.hls4ml.strategy)
        for layer in attributes.values()
        for call in layer.calls
        if call.hls4ml is not None
    }
