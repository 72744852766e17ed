"""PQuantML 0.1: bit widths trained and weights pruned at once, against a penalty that rises.

The settings are those of its own example of a jet tagger: the configuration of dynamic sparse
training, its first widths, data that wrap, Adam with a rate of 1e-2. What the example does not fix
or has otherwise:

- Bit widths are trained, of every weight, bias and input on its own; the example leaves them fixed.
- Weights saturate symmetrically (``SAT_SYM``). With the example's ``SAT``, the penalty counts a sign
  even for weights without bits, and accuracy is lost long before the cost is small.
- Rectifiers have no quantizer of their own, as the next layer quantizes what it receives. With the
  example's, whose numbers have no sign, negative sums wrap into positive ones outside of training.
- Outputs are not quantized, which changes nothing in the cost of the yardstick.

PQuantML reads the weight of its penalty, ``hgq_beta``, from an attribute of each layer; a variable
there is how the weight rises by equal factors from 1e-6 to 5e-4, so that one training passes all
costs. Every epoch on the front of accuracy and effective bit operations, as PQuantML counts them,
is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals.front_training import KeptEpochs, compile_classifier
from benchmarks.rivals.yardstick import Layer, Network, save_networks, to_exact
from benchmarks.task import Task

__all__ = ["front_task"]

BATCH = 1024
RATE = 1e-2
LEAST, MOST = 1e-6, 5e-4


def front_task(seed: int, epochs: int, path: str) -> Task:
    """Return the task of training one front.

    Parameters
    ----------
    seed
        Of weights and the order of the jets.
    epochs
        Epochs of the ramp.
    path
        Where the networks are written; ``{seed}`` stands for the seed.
    """
    import keras
    from hgq.utils import trace_minmax
    from pquant.activations import PQActivation
    from pquant.core.keras.train import PQuantCallback
    from pquant.layers import PQDense

    from fabricfit.datasets import load_jets

    jets = load_jets()
    keras.utils.set_random_seed(seed)
    config = _configure(epochs)
    dense: list[Any] = []
    layers: list[Any] = [keras.Input((16,))]
    for number, width in enumerate((64, 32, 32, 5)):
        if number:
            layers.append(PQActivation(config, "relu", quantize_input=False, enable_ebops=False))
        layer = PQDense(config, width, in_quant_bits=None if number else (1.0, 3.0, 3.0))
        layer.hgq_beta = keras.Variable(LEAST, trainable=False)
        dense.append(layer)
        layers.append(layer)
    model = keras.Sequential(layers)
    compile_classifier(model, RATE)
    kept = KeptEpochs()

    class Ramp(keras.callbacks.Callback):
        """Raises the weight of the penalty."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            for layer in dense:
                layer.hgq_beta.assign(LEAST * (MOST / LEAST) ** (epoch / epochs))

    stages = PQuantCallback(config, log_keep_ratio=False, apply_final_compression=False)

    def work() -> None:
        model.fit(
            jets.X_train,
            jets.y_train,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=(jets.X_val, jets.y_val),
            verbose=0,
            callbacks=[Ramp(), stages, kept],
        )

    def inspect(_: None) -> dict[str, Any]:
        known = np.concatenate([jets.X_train, jets.X_val])
        networks = []
        for weights in kept:
            model.set_weights(weights)
            trace_minmax(model, known, batch_size=len(known))
            networks.append(_read(dense))
        file = Path(path.format(seed=seed))
        save_networks(file, networks)
        return {"networks": str(file)}

    return Task(work, inspect)


def _configure(epochs: int) -> Any:
    """Return PQuantML's settings."""
    from pquant import dst_config

    config = dst_config()
    config.training_parameters.epochs = epochs
    quantization = config.quantization_parameters
    quantization.use_high_granularity_quantization = True
    quantization.granularity = "per_weight"
    quantization.default_data_integer_bits = 3.0
    quantization.default_data_fractional_bits = 2.0
    quantization.default_weight_fractional_bits = 3.0
    quantization.use_relu_multiplier = False
    quantization.overflow_mode_data = "WRAP"
    quantization.overflow_mode_parameters = "SAT_SYM"
    return config


def _read(dense: list[Any]) -> Network:
    """Return trained layers as a network of the yardstick."""
    return [
        Layer(
            to_exact(layer.kernel),
            to_exact(layer.bias),
            *(to_exact(each).ravel() for each in layer.get_input_quantization_bits()),
            saturates=False,
        )
        for layer in dense
    ]
