"""The weights that hand-written loops start from, drawn as Keras draws them."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["SHAPES", "initial_parameters"]

SHAPES = {
    "jets": ((16, 64), (64, 32), (32, 32), (32, 5)),
    "lenet": ((5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)),
}
"""Kernels in their order, outputs last."""


def initial_parameters(name: str, seed: int = 0) -> list[np.ndarray]:
    """Return a kernel and a bias for every layer."""
    rng = np.random.default_rng(seed)
    parameters = []
    for shape in SHAPES[name]:
        field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * field, shape[-1] * field
        by_inputs = name == "jets" and shape[-1] != 5
        limit = math.sqrt(6 / fan_in) if by_inputs else math.sqrt(6 / (fan_in + fan_out))
        parameters.append(rng.uniform(-limit, limit, shape).astype(np.float32))
        parameters.append(np.zeros(shape[-1], np.float32))
    return parameters
