"""The curvature of a model's loss in its kernels, from which losses of designs are predicted."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.curvature import Curvature
from fabricfit.errors import InvalidInputError
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.reader import Network, as_network
from fabricfit.network.scalings import replace_scalings
from fabricfit.samples import Dataset, Door

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
        No loss is given, and the model was not compiled with one.
    """
    chosen = loss if loss is not None else getattr(model, "loss", None)
    if chosen is None:
        raise InvalidInputError(
            "loss must be given where the model was not compiled with one. Received: loss=None"
        )
    folded = network or replace_scalings(fold_normalizations(as_network(model)))
    if isinstance(data, Dataset):
        few = data.through(Door(folded.ends), data.name).head(_HELD_SAMPLES)
        X, y = few.X, few.y
    else:
        X, y = data[:2]
    curvature = Curvature(folded.model, None, chosen)
    effort = curvature.choose_effort(X, y, samples=samples)
    found = curvature.hessians(X, y, **effort._asdict()).values
    return {name: np.maximum(np.asarray(each), 0.0) for name, each in found.items()}
