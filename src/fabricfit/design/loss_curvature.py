"""The curvature of a model's loss in its kernels, from which losses of designs are predicted."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.checks import instance, whole_number
from fabricfit.curvature import Curvature
from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelLoss, label_check
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.network.scalings import replace_scalings
from fabricfit.samples import Data, Dataset, Door, open_data

__all__ = ["measure_curvature"]

_HELD_SAMPLES = 2**13
"""Samples of a file that are held in memory; of them those of ``samples`` are drawn."""


def measure_curvature(
    model: keras.Model,
    data: Any,
    loss: Any = None,
    samples: int = 512,
    network: Network | None = None,
) -> dict[str, np.ndarray]:
    """Return the diagonal of the Hessian of the loss for each kernel, at least 0.

    Parameters
    ----------
    model, data, loss, samples
        As for :func:`fabricfit.explore`.
    network
        What was read of the model with its normalizations folded, if that is at hand.

    Raises
    ------
    InvalidInputError
        No loss is given, and the model was not compiled with one; or the data do not fit the model.
    """
    samples = whole_number("samples", samples)
    chosen = loss if loss is not None else getattr(model, "loss", None)
    if chosen is None:
        raise InvalidInputError(
            "loss must be given where the model was not compiled with one. Received: loss=None"
        )
    if network is not None:
        instance("network", network, Network)
    folded = network or replace_scalings(fold_normalizations(open_network(model)))
    outputs = folded.ends.outputs
    losses = ModelLoss(chosen, None, outputs)
    door = Door(folded.ends, losses.needed, check=label_check(losses, outputs))
    opened = open_data(data, getattr(data, "name", "") if isinstance(data, Dataset) else "", door)
    few = opened if isinstance(opened, Data) else opened.head(_HELD_SAMPLES)
    X, y = few.X, few.y
    curvature = Curvature(folded.model, None, chosen)
    effort = curvature.choose_effort(X, y, samples=samples)
    found = curvature.hessians(X, y, **effort._asdict()).values
    return {name: np.maximum(np.asarray(each), 0.0) for name, each in found.items()}
