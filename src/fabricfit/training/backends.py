"""Choice of an engine: that of the active backend, or Keras' own ``fit`` where a step cannot be a function.

A model with a ``train_step`` of its own is trained by Keras' ``fit``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.network.cloning import own_steps
from fabricfit.network.copying import every_layer
from fabricfit.network.reader import Network, model_of
from fabricfit.training.distillation import DistillationLoss
from fabricfit.training.engine import Engine
from fabricfit.training.penalty import Penalty
from fabricfit.training.resolve import fresh_optimizer

__all__ = ["changes_state_in_loops", "make_engine"]


def make_engine(
    model: keras.Model | Network,
    loss_fn: Any,
    optimizer: Any,
    attributes: Mapping[str, LayerAttributes] | None = None,
    seed: int = 0,
    penalty: Penalty | None = None,
) -> Engine:
    """Return the engine for a model on the active backend; the arguments are those of :class:`Engine`."""
    name = keras.backend.backend()
    trained = model_of(model)
    if own_steps(trained) or not _is_pure(optimizer) or changes_state_in_loops(trained):
        name = "fit"
    if name == "fit" and isinstance(loss_fn, DistillationLoss):
        raise InvalidInputError(
            f"distillation needs a training step that is known, but model {trained.name!r} has a train_step "
            "of its own, or it or the optimizer works on TensorFlow's variables. Use distillation=0."
        )
    module = importlib.import_module(f"fabricfit.training.{name}_engine")
    return module.BackendEngine(model, loss_fn, optimizer, attributes, seed, penalty)


def changes_state_in_loops(model: keras.Model) -> bool:
    """Whether layers change variables from step to step of a loop of TensorFlow's, as HGQ2's recurrent ones.

    What is assigned inside such a loop cannot be handed out of it; only variables themselves can be.
    """
    return keras.backend.backend() == "tensorflow" and any(
        type(layer).__module__.split(".")[0] == "hgq" and not getattr(layer, "unroll", True)
        for layer in every_layer(model)
    )


def _is_pure(optimizer: Any) -> bool:
    """Whether an optimizer can be used as a pure function."""
    if keras.backend.backend() != "tensorflow":
        return True
    from fabricfit.training.tensorflow_optimizer import is_pure

    return is_pure(fresh_optimizer(optimizer))
