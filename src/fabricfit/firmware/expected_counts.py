"""Multipliers counted in the generated code beside those that the model's weights need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.counting import MultiplicationCount, count_multiplications
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.firmware.verification_result import LayerVerification
from fabricfit.hardware.dsp import latency_dsp
from fabricfit.hls4ml.sections import find_key
from fabricfit.network.reader import Network

__all__ = ["compare_counts", "expected_multipliers", "remark_on_counts"]


def expected_multipliers(kernel: Any, reuse_factor: int, strategy: str) -> int:
    """Return the multipliers that a layer's weights need.

    Parameters
    ----------
    kernel
        Quantized weights, outputs on the last axis.
    reuse_factor
        Number of weights that one multiplier serves.
    strategy
        Resource has a multiplier for each run of RF weights; ResourceUnrolled for each run with a non-zero
        weight; Latency for each non-zero weight; distributed arithmetic has none.
    """
    name, flat = canonical_strategy(strategy), np.moveaxis(np.asarray(kernel), -1, 0).ravel()
    if name == "latency":
        return int(np.count_nonzero(flat))
    if name == "distributed_arithmetic":
        return 0
    if name == "resource":
        return -(-flat.size // reuse_factor)
    return int(flat.reshape(-1, reuse_factor).any(axis=1).sum())


def compare_counts(
    network: Network,
    hls_model: Any,
    hls_config: Mapping[str, Any],
    expected: Mapping[str, int] | None,
) -> tuple[LayerVerification, ...]:
    """Count the multipliers of every layer, and compare.

    Parameters
    ----------
    network, hls_model, hls_config
        The model, and what hls4ml made of it with this configuration.
    expected
        Layer -> multipliers that the caller expects.

    Raises
    ------
    InvalidInputError
        The caller expects multipliers of a layer without any.
    """
    nodes = {node.name: node for node in hls_model.get_layers()}
    weights = KerasWeights(network, frozenset(nodes))
    counted = count_multiplications(hls_model)
    missing = sorted(set(expected or ()) - set(counted))
    if missing:
        raise InvalidInputError(
            f"expected names layers without multipliers in hls4ml's project: {missing}. Those with "
            f"multipliers are {list(counted)}."
        )
    found = []
    for name, count in counted.items():
        layer, _, part = name.partition("/")
        stated = _find_stated_strategy(hls_config, nodes[layer])
        found.append(
            _compare_count(name, nodes[layer], part, count, weights, stated, expected or {})
        )
    return tuple(found)


def _compare_count(
    name: str,
    node: Any,
    part: str,
    count: MultiplicationCount,
    weights: KerasWeights,
    stated: str,
    expected: Mapping[str, int],
) -> LayerVerification:
    needed, constants, off_grid, as_given = expected.get(name), None, 0, None
    try:
        kernel = weights.kernel(node, part).values
        off_grid = weights.off_grid.get(name, 0)
        if needed is None:
            rule = (count.reuse_factor, count.strategy)
            needed = expected_multipliers(kernel, *rule) * count.copies
            given = weights.kernel_as_given(node, part)
            as_given = expected_multipliers(given, *rule) * count.copies
        constants = latency_dsp(kernel) * count.copies
    except NotModelledError:
        pass
    compared = count.constants is not None and constants is not None
    agrees = needed is None or bool(needed == count.multipliers)
    explained = agrees or (off_grid > 0 and bool(as_given == count.multipliers))
    if compared:
        agrees &= bool(count.constants == constants)
        explained &= bool(count.constants == constants)
    return LayerVerification(
        name,
        stated,
        count.strategy,
        int(count.reuse_factor),
        int(count.multipliers),
        None if needed is None else int(needed),
        int(count.products),
        agrees,
        count.constants,
        constants if count.constants is not None else None,
        off_grid,
        explained,
    )


def remark_on_counts(layers: Sequence[LayerVerification]) -> list[str]:
    """Return remarks on multipliers that cannot be predicted, and on weights that are off the grid."""
    remarks = [
        f"multipliers of layer {layer.name!r} are counted but cannot be predicted"
        for layer in layers
        if layer.expected is None and layer.multipliers
    ]
    return remarks + [_remark_on_weights(layer) for layer in layers if layer.off_grid]


def _remark_on_weights(layer: LayerVerification) -> str:
    more = 0 if layer.expected is None else layer.multipliers - layer.expected
    cost = (
        f", which costs {more} more multipliers: it looks for zeros before that" if more > 0 else ""
    )
    return (
        f"layer {layer.name!r}: {layer.off_grid} of its weights are not on the hardware grid; hls4ml rounds "
        f"them{cost}. fabricfit.firmware.quantize_to_grid quantizes them first"
    )


def _find_stated_strategy(hls_config: Mapping[str, Any], node: Any) -> str:
    """Return the strategy that a configuration states for a layer."""
    config = hls_config.get("HLSConfig", hls_config)
    for section, key in (("LayerName", node.name), ("LayerType", node.get_attr("class_name"))):
        sections = config.get(section) or {}
        name = find_key(sections, str(key))
        if name is not None and sections[name].get("Strategy"):
            return str(sections[name]["Strategy"])
    return str((config.get("Model") or {}).get("Strategy") or "Latency")
