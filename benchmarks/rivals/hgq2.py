"""HGQ2 (Sun et al., 2024, arXiv:2405.00645): bit widths trained against a penalty that rises.

Quantizers and learning rate are those of its own example of a small jet tagger. β rises from 1e-6 to 5e-4 by
equal factors, so that one training passes all costs, and every epoch on the front of accuracy and effective
bit operations is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
from hgq.config import QuantizerConfig, QuantizerConfigScope
from hgq.layers import QAdd, QConv2D, QDense
from hgq.regularizers import MonoL1
from hgq.utils.sugar import BetaScheduler, FreeEBOPs
from hgq.utils.sugar.beta_scheduler import PieceWiseSchedule

from benchmarks.rivals.front_training import KeptEpochs

__all__ = ["RATE", "Layers", "quantizers", "train_front"]

RATE = 5e-3
LEAST, MOST = 1e-6, 5e-4


def quantizers() -> ExitStack:
    """Return the context in which layers are made."""
    stack = ExitStack()
    stack.enter_context(
        QuantizerConfigScope(
            place="all", k0=1, b0=3, i0=0, default_q_type="kbi", overflow_mode="sat_sym"
        )
    )
    stack.enter_context(
        QuantizerConfigScope(
            place="datalane", k0=0, default_q_type="kif", overflow_mode="wrap", f0=3, i0=3
        )
    )
    return stack


class Layers:
    """Makes its layers; pixels come one after another, and sums are free, as they are for everybody."""

    def __init__(self) -> None:
        self._first = True

    def conv(self, filters: int, **options: Any) -> Any:
        """Return a convolution of 3×3."""
        received = self._received(homogeneous_axis=(0, 1, 2))
        return QConv2D(
            filters, 3, beta0=LEAST, iq_conf=received, parallelization_factor=1, **options
        )

    def dense(self, units: int, activation: str | None) -> Any:
        """Return a dense layer."""
        received = self._received()
        if activation is not None:
            return QDense(units, beta0=LEAST, activation=activation, iq_conf=received)
        outputs = QuantizerConfig(place="datalane", k0=1, fr=MonoL1(1e-3))
        return QDense(units, beta0=LEAST, iq_conf=received, enable_oq=True, oq_conf=outputs)

    def add(self) -> Any:
        """Return a sum."""
        received = QuantizerConfig(place="datalane", k0=1, homogeneous_axis=(0, 1, 2))
        return QAdd(enable_ebops=False, iq_confs=[received, received])

    def _received(self, **options: Any) -> Any:
        """Return how a layer quantizes its input: with a sign in front of the network, else without."""
        signs, self._first = {"k0": 1} if self._first else {}, False
        return QuantizerConfig(place="datalane", **signs, **options)


def train_front(
    model: keras.Model,
    training: Sequence[np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    batch_size: int,
    epochs: int,
    cycle: int = 0,
) -> KeptEpochs:
    """Train along the ramp; return the epochs that no other one beats.

    Parameters
    ----------
    model
        A compiled model.
    training, validation
        Inputs and classes.
    batch_size, epochs
        Samples of a step, and epochs of the ramp.
    cycle
        Epochs in a cycle of cosine-shaped learning rates; 0 for a constant rate, as in the example.
    """
    kept = KeptEpochs()
    ramp = PieceWiseSchedule([(0, LEAST, "log"), (epochs, MOST, "constant")])
    callbacks = [FreeEBOPs(), BetaScheduler(ramp), kept]
    if cycle:
        rates = [
            RATE * (0.1 + 0.9 * (1 + np.cos(np.pi * (epoch % cycle) / cycle)) / 2)
            for epoch in range(epochs)
        ]
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch: float(rates[epoch])))
    model.fit(
        *training,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation,
        verbose=0,
        callbacks=callbacks,
    )
    return kept
