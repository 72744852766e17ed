"""Training of the smaller model that is left where whole units have been removed.

It costs less an epoch than the model before it, and needs no masks. The learning rate falls from the
optimizer's own to next to nothing along half a period of a cosine.

References
----------
I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016, arXiv:1608.03983.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import keras
import numpy as np

from fabricfit.network.reader import read
from fabricfit.optimization.savings import Account, describe_reduced
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import RunSetup, add_distillation
from fabricfit.run import Recorder
from fabricfit.training import TrainingDivergedError, better, make_engine, train
from fabricfit.training.data_ranges import DataRanges

__all__ = ["finish_training"]

logger = logging.getLogger(__name__)

_LEAST_RATE = 0.02
"""The learning rate of the last epoch, in parts of that of the first."""


def finish_training(
    setup: RunSetup, recorder: Recorder, model: keras.Model, account: Account
) -> Account:
    """Train a reduced model, where the run's settings say so; keep its weights where that makes it no better.

    Parameters
    ----------
    setup
        What the run worked with.
    recorder
        Saves the training, so that it resumes.
    model
        The reduced model, whose weights change.
    account
        What the model uses.

    Returns
    -------
    Account
        The same, with a remark on what the training brought.
    """
    settings = setup.settings
    epochs = _count_epochs(settings)
    is_reduced = setup.objective.removes_units and account.after != account.before
    if not is_reduced or not epochs:
        return account
    engine = make_engine(
        read(model), add_distillation(setup.engine.hard_loss, settings), settings.optimizer
    )
    recorder.mark("finishing", epochs=epochs)
    before = setup.evaluate_model(model)
    weights = engine.get_weights()
    try:
        train(
            engine,
            setup.training,
            setup.validation,
            setup.metric,
            increasing=settings.increasing,
            epochs=epochs,
            batch_size=settings.batch_size,
            rng=np.random.default_rng([settings.seed, epochs]),
            callbacks=[*_falling_rate(engine.optimizer, epochs), *(settings.callbacks or ())],
            after_epoch=DataRanges(engine, setup.training),
            checkpointer=recorder.checkpointer("finishing"),
        )
    except TrainingDivergedError as error:
        logger.warning("while the smaller model was trained, %s; its weights are kept", error)
        engine.set_weights(weights)
    if setup.finish is not None:
        network = engine.network
        setup.finish(network, describe_reduced(network, setup.decisions.attributes))
    after = setup.evaluate_model(model)
    if better(before, after, settings.increasing) or not np.isfinite(after):
        engine.set_weights(weights)
        after = before
    logger.info("smaller model: %s %.5g, %.5g after training", setup.metric.name, before, after)
    said = (
        f"the smaller model was trained for {epochs} epochs: {setup.metric.name} {before:.4f} "
        f"before, {after:.4f} after"
    )
    return replace(account, remarks=(*account.remarks, said))


def _count_epochs(settings: OptimizationSettings) -> int:
    return settings.epochs if settings.finishing_epochs is None else settings.finishing_epochs


def _falling_rate(
    optimizer: keras.optimizers.Optimizer, epochs: int
) -> list[keras.callbacks.Callback]:
    """Return what lowers the learning rate from epoch to epoch, unless the optimizer has a schedule."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return []
    first = float(keras.ops.convert_to_numpy(inner.learning_rate))

    def rate(epoch: int, _: float) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * epoch / max(epochs - 1, 1)))
        return first * (_LEAST_RATE + (1 - _LEAST_RATE) * falling)

    return [keras.callbacks.LearningRateScheduler(rate)]
