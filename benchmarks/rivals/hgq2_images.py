"""HGQ2's front of an image network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq.utils import trace_minmax

from benchmarks.images import build_network, load_images
from benchmarks.rivals.front_training import KeptEpochs, compile_classifier
from benchmarks.rivals.hgq2 import RATE, Layers, quantizers, train_front
from benchmarks.rivals.image_yardstick import save_answers
from benchmarks.task import Task

__all__ = ["front_task"]

_KNOWN = 10_000


def front_task(
    seed: int, kind: str, epochs: int, batch_size: int, path: str, budgets: list[int]
) -> Task:
    """Return the task of training one front.

    Parameters
    ----------
    seed
        Of weights and the order of the images.
    kind
        Of the network.
    epochs, batch_size
        Epochs of the ramp, and images of a step.
    path
        Where its networks are measured to; ``{seed}`` stands for the seed.
    budgets
        What its networks are for: those far from any of them are not measured.
    """
    images = load_images()
    keras.utils.set_random_seed(seed)
    with quantizers():
        model = build_network(kind, Layers())
    compile_classifier(model, RATE)

    def work() -> KeptEpochs:
        return train_front(
            model,
            images.train,
            images.validation,
            batch_size=batch_size,
            epochs=epochs,
        )

    def inspect(kept: KeptEpochs) -> dict[str, Any]:
        known = np.concatenate([images.X_train, images.X_val])

        def restore() -> Iterator[keras.Model]:
            for weights in kept.near(budgets):
                model.set_weights(weights)
                trace_minmax(model, known, batch_size=_KNOWN)
                yield model

        file = Path(path.format(seed=seed))
        save_answers(file, restore(), images)
        return {"answers": str(file), "points": kept.points}

    return Task(work, inspect)
