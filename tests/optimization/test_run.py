"""The loop: levels that are accepted and that are not, and the weights that each starts from."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest

from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator
from fabricfit.optimization.optimize import sparsity_target
from fabricfit.optimization.outcome import make_result
from fabricfit.optimization.recording import open_recorder
from fabricfit.optimization.run import Run
from fabricfit.optimization.setup import set_up
from fabricfit.scheduler import ConstantScheduler
from tests.common import kernel_of, weights_of
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import run, settings

pytestmark = ON_ONE_BACKEND


class Watched(Run):
    """A run that writes down the weights with which every level starts, and can spoil levels."""

    def __init__(self, setup, recorder, spoil=()):
        super().__init__(setup, recorder)
        self.spoil = set(spoil)
        self.starts = []

    def _try_level(self, sparsity):
        engine = self.setup.engine
        self.starts.append(engine.get_weights())
        level = yield from super()._try_level(sparsity)
        if len(self.starts) in self.spoil:  # as if it had gone wrong
            engine.set_weights([np.full_like(w, 7) for w in engine.get_weights()])
            level = type(level)(sparsity, False, 0.0, level.utilization, level.epochs, 0.0)
        return level


def watched(model, data, tmp_path, spoil, **changes):
    scheduler = changes.pop("scheduler", ConstantScheduler(0, 0.8, 0.2))
    attributes = get_attributes_from_keras_model(model)
    chosen = settings(tmp_path, **changes)
    target = sparsity_target(chosen)
    setup = set_up(read(model), attributes, ParameterEstimator, target, scheduler, data, chosen)
    with open_recorder(setup.settings, setup.manifest, setup.documents) as recorder:
        job = Watched(setup, recorder, spoil=spoil)
        return job, make_result(setup, recorder, job.go())


def test_after_a_bad_level_the_run_goes_on_from_the_last_good_weights(trained, data, tmp_path):
    job, result = watched(trained, data, tmp_path, spoil=[2])
    assert [level.accepted for level in result.history] == [True, False, True, True]
    for good, again in zip(job.starts[1], job.starts[2], strict=True):
        np.testing.assert_array_equal(good, again)
    assert result.report.sparsity == 0.8


def test_the_run_ends_after_too_many_bad_levels_in_a_row(trained, data, tmp_path):
    _, result = watched(trained, data, tmp_path, spoil=[2, 3, 4], cutoff_bad_trials=1)
    assert result.report.sparsity == pytest.approx(0.2)
    assert [level.accepted for level in result.history] == [True, False, False]
    _, result = watched(trained, data, tmp_path, spoil=[1, 3], cutoff_bad_trials=1)
    assert len(result.history) == 4  # not in a row


def test_the_best_level_is_returned_not_the_last(trained, data, tmp_path):
    _, result = watched(trained, data, tmp_path, spoil=[3, 4])
    zeros = sum((kernel_of(result.model, n) == 0).sum() for n in ("fc1", "fc2", "out"))
    total = sum(kernel_of(result.model, n).size for n in ("fc1", "fc2", "out"))
    assert result.report.sparsity == pytest.approx(0.4)
    assert 0.4 <= zeros / total < 0.6
    assert not any((w == 7).all() for w in weights_of(result.model))


def test_nothing_is_trained_for_nothing(trained, data, tmp_path):
    class Count(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            Count.epochs += 1

    options = {"epochs": 4, "rewinding_epochs": 1, "callbacks": [Count()]}
    run(trained, data, tmp_path, patience=None, **options)
    # Two levels of three masked epochs, one rewinding between them: none at sparsity 0, none after.
    assert Count.epochs == 3 + 1 + 3
    Count.epochs = 0
    result = run(trained, data, tmp_path, **options)
    first, second = result.history
    # On the way, a level ends when it is as good as the model was.
    assert first.epochs < 3 or first.metric < result.report.metric_before
    assert Count.epochs == first.epochs + 1 + second.epochs


def test_a_target_that_fails_says_so_and_returns_the_input(trained, data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(trained, data, tmp_path, rtol=5.0)
    assert "no sparsity level kept accuracy" in caplog.text
    assert result.report.sparsity == 0
    for old, new in zip(weights_of(trained), weights_of(result.model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert result.model is not trained


def test_a_sparsity_out_of_reach_is_a_bad_level_that_costs_no_training(
    trained, data, tmp_path, caplog
):
    scheduler = ConstantScheduler(0.5, 1.0, 0.5)
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(trained, data, tmp_path, scheduler=scheduler)
    assert "sparsity 1 cannot be reached" in caplog.text
    good, unreachable = result.history
    assert good.accepted and not unreachable.accepted and unreachable.epochs == 0
    assert "minimum_groups" in unreachable.note and result.report.sparsity == 0.5


def test_training_that_diverges_goes_back_to_the_last_good_weights(trained, data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(
            trained, data, tmp_path, optimizer=keras.optimizers.SGD(1e30), cutoff_bad_trials=0
        )
    assert "going back to the last good weights" in caplog.text
    assert all(np.isfinite(w).all() for w in weights_of(result.model))
    assert result.report.metric_after == pytest.approx(result.report.metric_before)
