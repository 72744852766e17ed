"""The configuration of hls4ml that builds a design."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import write_precision
from fabricfit.description.strategies import spell_strategy
from fabricfit.design.options import LayerOption
from fabricfit.hls4ml.pipelining import state_interval
from fabricfit.hls4ml.sections import find_key

__all__ = ["write_config"]


def write_config(
    config: Mapping[str, Any],
    attributes: Mapping[str, LayerAttributes],
    chosen: Mapping[str, LayerOption],
) -> dict[str, Any]:
    """Return the configuration of a design, as hls4ml reads it.

    Parameters
    ----------
    config
        An opened configuration, which is not changed.
    attributes
        Layer -> attributes, as it describes them.
    chosen
        Kernel -> how it is built.
    """
    made = copy.deepcopy(dict(config))
    inner = made.get("HLSConfig", made)
    named = inner.setdefault("LayerName", {})
    default = inner.get("Model", {}).get("Precision", "fixed<16,6>")
    for name, option in chosen.items():
        for call in attributes[name].calls:
            key = find_key(named, call.hls4ml_name) or call.hls4ml_name
            section = named.setdefault(key, {})
            stated = section.get("Precision", default)
            precision = dict(stated) if isinstance(stated, Mapping) else {"default": stated}
            precision[call.weight_name] = write_precision(option.precision)
            section |= {
                "Strategy": spell_strategy(option.strategy),
                "ReuseFactor": option.stated_reuse_factor,
                "Precision": precision,
            }
    state_interval(made, attributes, max(option.reuse_factor for option in chosen.values()))
    return made
