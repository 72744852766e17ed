"""Uniform width: the same part of every set of channels is removed, those of the smallest L1 norms.

H. Li et al., "Pruning filters for efficient ConvNets", ICLR 2017, arXiv:1608.08710. Where several
convolutions make the same channels, their norms are added. The narrower network is trained by ``fit``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.structured_networks import (
    BATCH,
    OUTPUT,
    TABLES,
    build_network,
    compile_with_cosine,
    count_operations,
    describe_answers,
    load_images,
    load_weights,
    name_norm,
    reseed,
)
from benchmarks.task import Task

__all__ = ["uniform_task"]

_PARTS = 1000
"""Kept parts of the channels are tried in steps of one by this."""


def uniform_task(kind: str, seed: int, directory: str, part: float, epochs: int) -> Task:
    """Prepare a network that is uniformly narrower.

    Parameters
    ----------
    kind, seed, directory
        Of the trained network.
    part
        Of the operations that is to be left.
    epochs
        Of the training afterwards.
    """
    import keras

    samples = load_images()
    weights = load_weights(kind, seed, directory)

    def work() -> tuple[Any, list[int]]:
        keras.utils.set_random_seed(reseed(seed))
        widths = _choose_widths(kind, part)
        norms = [_sum_norms(kind, weights, number) for number in range(len(widths))]
        kept = [
            np.sort(np.argsort(-each)[:width]) for each, width in zip(norms, widths, strict=True)
        ]
        model = _narrow(kind, weights, kept)
        compile_with_cosine(model, epochs, len(samples.X_train))
        model.fit(*samples.train, batch_size=BATCH, epochs=epochs, verbose=0)
        return model, widths

    def inspect(found: tuple[Any, list[int]]) -> dict[str, Any]:
        model, widths = found
        left = count_operations(kind, widths) / count_operations(kind)
        outputs = model.predict(samples.X_test, batch_size=500, verbose=0)
        return {**describe_answers(outputs, samples, left), "widths": widths}

    return Task(work, inspect)


def _choose_widths(kind: str, part: float) -> list[int]:
    """Return the widest network with the same part of every set within a part of the operations."""
    limit = part * count_operations(kind)
    for kept in range(_PARTS, 0, -1):
        widths = [max(round(width * kept / _PARTS), 1) for width in TABLES[kind].widths]
        if count_operations(kind, widths) <= limit:
            return widths
    raise ValueError(f"{kind} has more than {part} of its operations left with one channel a set")


def _sum_norms(kind: str, weights: dict[str, list[np.ndarray]], number: int) -> np.ndarray:
    makers = [each for each in TABLES[kind].convolutions if each.units == number]
    norms: np.ndarray = sum(
        np.abs(weights[each.name][0]).sum((0, 1, 3 if each.depthwise else 2)) for each in makers
    )
    return norms


def _narrow(kind: str, weights: dict[str, list[np.ndarray]], kept: list[np.ndarray]) -> Any:
    """Return the network of the kept channels of each set, with the weights that it had."""
    model = build_network(kind, [len(each) for each in kept])
    for each in TABLES[kind].convolutions:
        (kernel,) = weights[each.name]
        if each.depthwise:
            kernel = kernel[:, :, kept[each.units]]
        else:
            kernel = kernel[..., kept[each.units]]
            kernel = kernel if each.source is None else kernel[:, :, kept[each.source]]
        model.get_layer(each.name).set_weights([kernel])
        norm = name_norm(each.name)
        model.get_layer(norm).set_weights([one[kept[each.units]] for one in weights[norm]])
    kernel, bias = weights[OUTPUT]
    model.get_layer(OUTPUT).set_weights([kernel[kept[-1]], bias])
    return model
