"""HGQ2's front of the jets: the network of its own example of a small jet tagger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq.utils import trace_minmax

from benchmarks.rivals.front_training import KeptEpochs, compile_classifier
from benchmarks.rivals.hgq2 import RATE, Layers, quantizers, train_front
from benchmarks.rivals.yardstick import Layer, Network, save_networks, to_exact
from benchmarks.task import Task
from fabricfit.datasets import load_jets

__all__ = ["front_task"]

BATCH = 1024


def front_task(seed: int, epochs: int, path: str, cycle: int) -> Task:
    """Return the task of training one front.

    Parameters
    ----------
    seed
        Of weights and the order of the jets.
    epochs
        Epochs of the ramp.
    path
        Where the networks are written; ``{seed}`` stands for the seed.
    cycle
        Epochs in a cycle of cosine-shaped learning rates; 0 for a constant rate, as in the example.
    """
    jets = load_jets()
    keras.utils.set_random_seed(seed)
    with quantizers():
        make = Layers()
        hidden = [make.dense(width, "relu") for width in (64, 32, 32)]
        model = keras.Sequential([keras.Input((16,)), *hidden, make.dense(5, None)])
    compile_classifier(model, RATE)

    def work() -> KeptEpochs:
        training, validation = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
        return train_front(
            model, training, validation, batch_size=BATCH, epochs=epochs, cycle=cycle
        )

    def inspect(kept: KeptEpochs) -> dict[str, Any]:
        known = np.concatenate([jets.X_train, jets.X_val])
        networks = []
        for weights in kept:
            model.set_weights(weights)
            trace_minmax(model, known)
            networks.append(_read(model))
        file = Path(path.format(seed=seed))
        save_networks(file, networks)
        return {"networks": str(file)}

    return Task(work, inspect)


def _read(model: Any) -> Network:
    """Return a trained model as a network of the yardstick."""
    return [
        Layer(
            to_exact(layer.qkernel),
            to_exact(layer.qbias),
            *(to_exact(each).ravel() for each in layer.iq.quantizer.kif),
            saturates=False,
        )
        for layer in model.layers
    ]
