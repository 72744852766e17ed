"""Successive halving: its schedule, its candidates, and that it finds the best by its evaluator."""

from __future__ import annotations

import itertools
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelMetric
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator
from fabricfit.optimization.eligible_layers import decide
from fabricfit.optimization.levels import LevelSelector
from fabricfit.optimization.optimize import sparsity_target
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.samples import Data
from fabricfit.training import make_engine
from fabricfit.training.callbacks import show_trial
from fabricfit.training.strengths import uniform_strengths
from fabricfit.tuning.successive_halving import candidates, halve, halving_epochs, rungs
from tests.common import blobs, described, engine_for, kernel_of, mlp, weights_of

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"
VALUES = [0.0, 1e-3, 1e-2, 0.1, 1.0]


@given(st.integers(1, 40), st.integers(1, 200))
def test_rungs_rise_to_all_epochs_and_halve_the_work(epochs, count):
    found = rungs(epochs, count)
    assert found[-1] == epochs and found == sorted(set(found)) and found[0] >= 1
    left, spent, before = count, 0, 0
    for rung in found:
        spent += left * (rung - before)
        before, left = rung, -(-left // 2)
    assert spent <= count * epochs
    if epochs >= count > 2:
        assert spent <= 0.7 * count * epochs


def test_candidates_are_different_and_go_through_the_range():
    attributes = described(mlp(), weight_sharing=True)
    found = candidates(attributes, VALUES, 10, seed=0)
    assert len(found) == 10 == len({str(each) for each in found})
    assert found == candidates(attributes, VALUES, 10, seed=0)
    assert found != candidates(attributes, VALUES, 10, seed=1)
    alike = [each for each in found if len({v for pair in each.values() for v in pair}) == 1]
    assert sorted(each["fc1"][0] for each in alike)[:: len(alike) - 1] == [0.0, 1.0]
    drawn = found[5:]
    for layer in ("fc1", "fc2", "out"):
        assert {each[layer][0] for each in drawn} == set(VALUES)  # each takes its turn


def test_candidates_of_what_is_only_pruned_or_only_shared():
    for pruning, sharing in ((True, False), (False, True)):
        attributes = described(mlp(), pruning=pruning, weight_sharing=sharing)
        for alpha, beta in (
            p for each in candidates(attributes, VALUES, 8, 0) for p in each.values()
        ):
            assert (alpha if sharing else beta) == 0
    assert candidates(attributes, [0.5], 8, 0) == [uniform_strengths(attributes, 0.5)]


def test_the_price_is_what_candidates_are_trained_and_callbacks_see_each():
    seen = []

    class Diary(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((int(logs["trial"]), epoch, logs["val_accuracy"]))
            assert float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)) > 0

    X, y = blobs(128)
    attributes = described(mlp())
    engine = engine_for(mlp(), attributes)
    choices, metrics = candidates(attributes, VALUES, 5, 0), iter(range(100))
    options = {"increasing": True, "epochs": 4, "batch_size": 64, "seed": 0}
    watch = partial(show_trial, [Diary()], engine, "accuracy")
    found = halve(engine, choices, Data(X, y), lambda _: next(metrics), watch=watch, **options)
    last = {number: epoch + 1 for number, epoch, _ in seen}
    assert last == {i: trial.epochs for i, trial in enumerate(found.trials)}
    assert [value for *_, value in seen] == list(range(len(seen)))
    assert halving_epochs(4, 5) == sum(last.values())


@pytest.mark.parametrize("increasing", [True, False])
def test_the_best_by_the_evaluator_is_found_and_its_weights_are_returned(increasing):
    X, y = blobs(128)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    start = engine.get_weights()

    def evaluate(each):  # small weights are what is asked for: the largest strength makes them
        total = sum(float(np.abs(kernel_of(each.model, n)).sum()) for n in ("fc1", "fc2", "out"))
        return -total if increasing else total

    choices = [uniform_strengths(attributes, value) for value in (1e-3, 1.0, 0.1, 0.0)]
    options = {"increasing": increasing, "epochs": 4, "batch_size": 32, "seed": 0}
    found = halve(engine, choices, Data(X, y), evaluate, **options)
    assert found.strengths == choices[1]
    assert found.trials[1].epochs == 4 and min(t.epochs for t in found.trials) == 1
    assert [trial.chosen for trial in found.trials] == [False, True, False, False]
    # It is what training with these strengths alone gives: nothing leaks from one trial to the next.
    engine.set_weights(start)
    engine.reset_optimizer()
    again = halve(engine, [choices[1]], Data(X, y), evaluate, **options)
    alone = engine_for(mlp(), attributes)
    alone.penalty.assign(choices[1])
    ends, data = [0, *rungs(4, 4)], Data(X, y)
    for number, (first, last) in enumerate(itertools.pairwise(ends)):
        rng = np.random.default_rng([0, number])
        for _ in range(last - first):
            alone.train_epoch(data, data.order(rng), 32)
    for ours, expected in zip(found.weights, weights_of(alone.model), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
    assert len(again.trials) == 1


def test_all_trials_share_one_compiled_step():
    X, y = blobs(128)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    metric = ModelMetric("accuracy")
    data = Data(X, y)
    halve(
        engine, candidates(attributes, VALUES, 6, 0), data, lambda e: e.evaluate(data, metric),
        increasing=True, epochs=3, batch_size=32, seed=0,
    )  # fmt: skip
    assert engine.compilations == 1


def test_what_diverges_is_dropped_and_all_diverging_is_said():
    X, y = blobs(64)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    start = engine.get_weights()
    options = {"increasing": True, "epochs": 2, "batch_size": 32, "seed": 0}
    choices = [uniform_strengths(attributes, value) for value in (float("inf"), 0.0)]
    found = halve(engine, choices, Data(X, y), lambda e: 1.0, **options)
    assert found.strengths == choices[1] and np.isnan(found.trials[0].metric)
    engine.set_weights(start)
    with pytest.raises(InvalidInputError, match="every trial of the tuner diverged"):
        halve(engine, choices[:1], Data(X, y), lambda e: 1.0, **options)
    for ours, expected in zip(engine.get_weights(), start, strict=True):
        np.testing.assert_array_equal(ours, expected)


def levels_of(model, objective=ParameterEstimator):
    options = OptimizationSettings(8, 2, "adam", LOSS, "accuracy", True, None, tuner=None)
    decisions = decide(read(model), get_attributes_from_keras_model(model), objective)
    target = sparsity_target(options)(decisions, read(model).kernel_arrays())
    X, y = blobs(256)
    return (
        LevelSelector(target, decisions.attributes, LOSS, "l1", Data(X, y)),
        decisions,
        Data(X, y),
    )


def test_evaluating_prunes_and_leaves_everything_as_it_was():
    model = mlp()
    levels, decisions, data = levels_of(model)
    engine = make_engine(model, LOSS, "adam", decisions.attributes)
    engine.train_epoch(data, np.arange(256), 8)
    before = engine.get_weights()
    metric = ModelMetric("accuracy")
    found = levels.make_evaluator(0.8, data, metric)(engine)
    for ours, expected in zip(engine.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, expected)
    expected = []
    for level in (0.4, 0.6, 0.8):
        levels.freeze(engine, level)
        kernels = [kernel_of(model, name) for name in ("fc1", "fc2", "out")]
        assert sum((k == 0).sum() for k in kernels) >= level * sum(k.size for k in kernels) - 1
        expected.append(engine.evaluate(data, metric))
        engine.projection.release()
        engine.set_weights(before)
    assert found == pytest.approx(np.mean(expected))


def test_a_target_out_of_reach_is_evaluated_lower():
    model = mlp()
    levels, decisions, data = levels_of(model)
    engine = make_engine(model, LOSS, "adam", decisions.attributes)
    metric = ModelMetric("accuracy")
    assert levels.make_evaluator(1.0, data, metric)(engine) == levels.make_evaluator(
        0.95, data, metric
    )(engine)
    assert keras.tree.flatten(engine.get_weights())
