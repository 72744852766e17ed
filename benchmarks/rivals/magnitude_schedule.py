"""Single weights by magnitude in each layer, by the schedule of the TensorFlow Model Optimization Toolkit.

M. Zhu, S. Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878: sparsity rises from 0 along a cubic
polynomial while the network is trained, a step in a hundred. The toolkit leaves depthwise kernels as they
are; the sparsity of the others is such that the wanted part of all operations has a weight that is not zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from benchmarks.structured_networks import (
    BATCH,
    OUTPUT,
    TABLES,
    build_network,
    check_transcription,
    compile_with_cosine,
    count_operations,
    describe_answers,
    load_images,
    load_weights,
    reseed,
)
from benchmarks.task import Task

__all__ = ["magnitude_task"]

_FREQUENCY = 100


def magnitude_task(kind: str, seed: int, directory: str, part: float, epochs: int) -> Task:
    """Prepare a network with zeros among its weights.

    Parameters
    ----------
    kind, seed, directory
        Of the trained network.
    part
        Of the operations that is to be left.
    epochs
        Of the training meanwhile.
    """
    samples = load_images()
    model = build_network(kind, library=tf_keras)
    for name, values in load_weights(kind, seed, directory).items():
        model.get_layer(name).set_weights(values)
    few = samples.X_test[:BATCH]
    check_transcription(model.predict(few, verbose=0), few, kind, seed, directory)
    steps = epochs * -(-len(samples.X_train) // BATCH)

    def work() -> Any:
        tf_keras.utils.set_random_seed(reseed(seed))
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, _choose_sparsity(kind, part), 0, steps // _FREQUENCY * _FREQUENCY, power=3
        )
        pruned = tfmot.sparsity.keras.prune_low_magnitude(model, schedule)
        compile_with_cosine(pruned, epochs, len(samples.X_train), tf_keras)
        pruned.fit(
            *samples.train,
            batch_size=BATCH,
            epochs=epochs,
            verbose=0,
            callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        )
        return tfmot.sparsity.keras.strip_pruning(pruned)

    def inspect(pruned: Any) -> dict[str, Any]:
        kept = {name: _count_kept(pruned.get_layer(name)) for name in _list_layers(kind)}
        left = count_operations(kind, kept=kept) / count_operations(kind)
        outputs = pruned.predict(samples.X_test, batch_size=500, verbose=0)
        return describe_answers(outputs, samples, left)

    return Task(work, inspect)


def _choose_sparsity(kind: str, part: float) -> float:
    """Return the sparsity of the toolkit's layers at which a part of all operations is left."""
    every = count_operations(kind)
    least = count_operations(kind, kept=dict.fromkeys(_list_layers(kind), 0.0))
    return float((1 - part) * every / (every - least))


def _list_layers(kind: str) -> list[str]:
    """Return the layers whose weights the toolkit prunes."""
    return [*(each.name for each in TABLES[kind].convolutions if not each.depthwise), OUTPUT]


def _count_kept(layer: Any) -> float:
    """Return the part of a layer's weights that are not zero."""
    kernel = layer.get_weights()[0]
    return float(np.count_nonzero(kernel)) / kernel.size
