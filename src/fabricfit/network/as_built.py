"""The batch normalizations that hls4ml itself folds when it converts a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.hls4ml.config import leaves_result_open
from fabricfit.layers import family_of
from fabricfit.network.batch_norm import Fold
from fabricfit.network.reader import Network

__all__ = ["folded_by_hls4ml"]


def folded_by_hls4ml(
    network: Network, config: Mapping[str, Any], attributes: Mapping[str, LayerAttributes]
) -> Callable[[Fold], Fold | None]:
    """Return a function that tells which part of a fold hls4ml makes, if any.

    hls4ml folds a batch normalization into the layer right before it if the number format of that layer's
    results is left to it (``'auto'``).

    Parameters
    ----------
    network
        What was read of the model.
    config
        An opened configuration.
    attributes
        The attributes of the network's layers.
    """

    def is_open(layer: Any) -> bool:
        return leaves_result_open(config, attributes[network.names[id(layer)]])

    def choose(fold: Fold) -> Fold | None:
        family = family_of(fold.layer)
        if family is None or not family.folds_normalization:
            return None
        count, last = 0, fold.layer
        for each in fold.scalings:
            if not (each.adjacent and _is_normalization(each.layer) and is_open(last)):
                break
            count += 1
            last = each.layer if _is_normalization(last) else last
        return fold.first(count) if count else None

    return choose


def _is_normalization(layer: Any) -> bool:
    return type(layer) is keras.layers.BatchNormalization
