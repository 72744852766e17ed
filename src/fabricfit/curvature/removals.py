"""What the loss becomes when whole channels are missing, from derivatives in a factor on each.

A channel that a layer receives is multiplied by a factor, 1 now and 0 without it. Its removal changes the
loss by ``-dL/da + d²L/da² / 2``, with the factor a of all layers that receive the channel at once.
Derivatives in single weights would not tell: they leave out what the weights of a unit do together, and
behind a normalization, which makes up for the scale of a kernel, that is nearly everything. The second
derivative is that of Gauss–Newton, from random combinations of the outputs.

References
----------
P. Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, arXiv:1906.10771.
L. Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", arXiv:1801.05787.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.hooks import run_with_shifted_inputs
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.probes import draw_combinations
from fabricfit.curvature.samples import Batch, Samples

__all__ = ["Receiver", "find_receivers", "removal_losses"]

_PASSES = 2
"""Combinations of outputs for each sample."""

_LEAST_PART = 0.01
"""Least loss of a removal, in parts of its second-order term: where the first one promises a gain, the order
among such channels is still that of the second."""


@dataclass(frozen=True)
class Receiver:
    """A layer that receives channels.

    Parameters
    ----------
    layer
        The layer, called once, with one input.
    axis
        The axis of its input that the channels are on; None where all entries of a sample are channels.
    channels
        A number for each channel, the same in all layers that receive it; -1 for one that does not count.
    """

    layer: Any
    axis: int | None
    channels: np.ndarray


def removal_losses(
    problem: Problem, samples: Samples, receivers: Sequence[Receiver], count: int, seed: int = 0
) -> np.ndarray:
    """Return by how much the mean loss grows without each channel.

    Parameters
    ----------
    problem, samples
        The loss, and the data that it is differentiated on.
    receivers
        All that receives the channels.
    count
        How many channels there are; their numbers are below.
    seed
        Seed of the signs, which are the same on every backend.

    Returns
    -------
    numpy.ndarray
        Shape ``(count,)``; NaN for channels that nothing receives.
    """
    numbers = np.concatenate([each.channels for each in receivers]) if receivers else np.array([])
    known = np.isin(np.arange(count), numbers)
    if not known.any():
        return np.full(count, np.nan)
    outputs, rng = problem.curvature.size, np.random.default_rng(seed)
    name = ("removals", *((id(each.layer), each.channels.tobytes()) for each in receivers))
    step = problem.step(name, partial(_make_step, problem, receivers, count))
    held = problem.numbers_per_sample(_PASSES + 1)
    values, first, second = problem.values(), np.zeros(count), np.zeros(count)
    for batch in problem.batches(samples, held):
        found = step(values, batch, draw_combinations(rng, batch, _PASSES, outputs))
        first += ops.convert_to_numpy(found[0])
        second += ops.convert_to_numpy(found[1])
    half = second / _PASSES / samples.size / 2
    losses = np.maximum(half - first / samples.size, _LEAST_PART * np.maximum(half, 0))
    return np.where(known, losses, np.nan)


def _make_step(
    problem: Problem, receivers: Sequence[Receiver], count: int
) -> Callable[..., list[Tensor]]:
    layers = {str(i): each.layer for i, each in enumerate(receivers)}
    numbers = np.concatenate([each.channels for each in receivers])
    places = np.where(numbers < 0, count, numbers).astype(np.int32)

    def step(values: list[Tensor], batch: Batch, signs: Tensor) -> list[Tensor]:
        def network(shifts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            named = dict(zip(layers, shifts, strict=True))
            outputs, inputs = run_with_shifted_inputs(
                problem.model, problem.variables, values, batch.x, layers, named, problem.heads
            )
            return problem.curvature.join(outputs), [inputs[key] for key in layers]

        size = batch.weights.shape[0]
        zeros = [ops.zeros((size, *shape)) for shape in _shapes(receivers)]
        z, inputs, pullback = problem.autodiff.vjp(network, zeros)
        left, right = problem.curvature.combinations(z, batch.y, batch.weights, signs)
        gradient = problem.curvature.gradient(z, batch.y, batch.weights)[None]
        sides = [left] if right is None else [left, right]
        found = problem.autodiff.each(pullback, ops.concatenate([*sides, gradient]))
        parts = [
            _by_channel(each, delta, given)
            for each, delta, given in zip(receivers, found, inputs, strict=True)
        ]
        joined = ops.transpose(ops.concatenate(parts, axis=-1), (2, 0, 1))
        factors = ops.segment_sum(joined, places, count + 1)[:count]
        passes = signs.shape[0]
        products = factors[:, :passes] * factors[:, passes * (len(sides) - 1) : -1]
        return [ops.sum(factors[:, -1], axis=-1), ops.sum(products, axis=(1, 2))]

    return step


def _shapes(receivers: Sequence[Receiver]) -> list[tuple[int, ...]]:
    return [tuple(each.layer.input.shape[1:]) for each in receivers]


def _by_channel(receiver: Receiver, delta: Tensor, given: Tensor) -> Tensor:
    """Return derivatives in a factor on each channel, ``(k, n, channels)``, of those in the inputs."""
    product = delta * ops.cast(given, delta.dtype)[None]
    k, n = product.shape[:2]
    if receiver.axis is None:
        return ops.reshape(product, (k, n, -1))
    last = ops.moveaxis(product, receiver.axis + 1, -1)
    return ops.sum(ops.reshape(last, (k, n, -1, last.shape[-1])), axis=2)


def find_receivers(
    problem: Problem, wanted: Mapping[str, tuple[Any, np.ndarray]]
) -> list[Receiver]:
    """Return the layers that receive channels: called once, with one input that has them on an axis.

    Parameters
    ----------
    problem
        The network.
    wanted
        Kernel -> its layer, and the number of each channel that it receives.
    """
    found: dict[int, Receiver] = {}
    for layer, channels in wanted.values():
        if id(layer) in found or not problem.calls_once(layer):
            continue
        shape = getattr(getattr(layer, "input", None), "shape", None)
        if shape is None or None in shape[1:]:
            continue
        axis = _find_axis(layer, tuple(shape), len(channels))
        if axis is not None or int(np.prod(shape[1:])) == len(channels):
            found[id(layer)] = Receiver(layer, axis, channels)
    return list(found.values())


def _find_axis(layer: Any, shape: tuple[int, ...], channels: int) -> int | None:
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else len(shape) - 1
    return axis if shape[axis] == channels else None
