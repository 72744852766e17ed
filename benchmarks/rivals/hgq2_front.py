"""HGQ2 (Sun et al., 2024, arXiv:2405.00645): bit widths trained against a penalty that rises.

The network and the quantizers are those of its own example of a small jet tagger. β rises from 1e-6 to 5e-4
by equal factors, so that one training passes all costs, and every epoch on the front of accuracy and
effective bit operations is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals.yardstick import Layer, Network, save_networks
from benchmarks.task import Task

__all__ = ["front_task"]

BATCH = 1024
RATE = 5e-3
LEAST, MOST = 1e-6, 5e-4


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
    import keras
    from hgq.config import QuantizerConfig, QuantizerConfigScope
    from hgq.layers import QDense
    from hgq.regularizers import MonoL1
    from hgq.utils import trace_minmax
    from hgq.utils.sugar import BetaScheduler, FreeEBOPs
    from hgq.utils.sugar.beta_scheduler import PieceWiseSchedule

    from fabricfit.datasets import load_jets

    jets = load_jets()
    keras.utils.set_random_seed(seed)
    everything = QuantizerConfigScope(
        place="all", k0=1, b0=3, i0=0, default_q_type="kbi", overflow_mode="sat_sym"
    )
    data = QuantizerConfigScope(
        place="datalane", k0=0, default_q_type="kif", overflow_mode="wrap", f0=3, i0=3
    )
    with everything, data:
        inputs = QuantizerConfig(place="datalane", k0=1)
        outputs = QuantizerConfig(place="datalane", k0=1, fr=MonoL1(1e-3))
        layers: list[Any] = [keras.Input((16,))]
        for number, width in enumerate((64, 32, 32)):
            options = {"iq_conf": inputs} if number == 0 else {}
            layers.append(QDense(width, beta0=LEAST, activation="relu", **options))
        layers.append(QDense(5, beta0=LEAST, enable_oq=True, oq_conf=outputs))
        model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(RATE),
        loss,
        metrics=["accuracy"],
        jit_compile=True,
        steps_per_execution=4,
    )
    kept: list[tuple[float, float, list[np.ndarray]]] = []

    class Keep(keras.callbacks.Callback):
        """Keeps the epochs that no other one beats."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            assert logs is not None
            value, cost = logs["val_accuracy"], logs["ebops"]
            if epoch < 8 or any(v >= value and c <= cost for v, c, _ in kept):
                return
            kept[:] = [each for each in kept if not (value >= each[0] and cost <= each[1])]
            kept.append((value, cost, model.get_weights()))

    ramp = PieceWiseSchedule([(0, LEAST, "log"), (epochs, MOST, "constant")])
    callbacks = [FreeEBOPs(), BetaScheduler(ramp), Keep()]
    if cycle:
        rates = [
            RATE * (0.1 + 0.9 * (1 + np.cos(np.pi * (epoch % cycle) / cycle)) / 2)
            for epoch in range(epochs)
        ]
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch: float(rates[epoch])))

    def work() -> None:
        model.fit(
            jets.X_train,
            jets.y_train,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=(jets.X_val, jets.y_val),
            verbose=0,
            callbacks=callbacks,
        )

    def inspect(_: None) -> dict[str, Any]:
        known = np.concatenate([jets.X_train, jets.X_val])
        networks = []
        for _, _, weights in kept:
            model.set_weights(weights)
            trace_minmax(model, known)
            networks.append(_read(model))
        file = Path(path.format(seed=seed))
        save_networks(file, networks)
        return {"networks": str(file)}

    return Task(work, inspect)


def _read(model: Any) -> Network:
    """Return a trained model as a network of the yardstick."""
    import keras

    return [
        Layer(
            np.asarray(keras.ops.convert_to_numpy(layer.qkernel), np.float64),
            np.asarray(keras.ops.convert_to_numpy(layer.qbias), np.float64),
            *(
                np.asarray(keras.ops.convert_to_numpy(each), np.float64).ravel()
                for each in layer.iq.quantizer.kif
            ),
            saturates=False,
        )
        for layer in model.layers
    ]
