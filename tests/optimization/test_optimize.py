"""Optimizing a model: what comes out, and what of the caller's stays."""

from __future__ import annotations

import json
import logging

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes, grouping_of
from fabricfit.keras import optimize, optimize_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.optimization.optimize import sparsity_target
from fabricfit.optimization.outcome import make_result
from fabricfit.optimization.recording import open_recorder
from fabricfit.optimization.run import Run
from fabricfit.optimization.setup import set_up
from fabricfit.scheduler import ConstantScheduler, PolynomialScheduler
from tests.common import L, estimator, kernel_of, mlp, outputs_of, weights_of
from tests.marks import on_one_backend
from tests.optimization.runs import LOSS, run, settings

pytestmark = pytest.mark.keras


def test_the_result_is_pruned_plain_and_reported(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    report = result.report
    assert [level.accepted for level in report.levels] == [True, True]
    assert report.sparsity == 0.5
    kernels = [kernel_of(result.model, name) for name in ("fc1", "fc2", "out")]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    total = sum(kernel.size for kernel in kernels)
    assert zeros >= 0.5 * total
    assert report.resources_after == (total - zeros,) and report.resources_before == (total,)
    correct = outputs_of(result.model, data[1][0]).argmax(axis=1) == data[1][1]
    assert report.metric_after == pytest.approx(correct.mean())
    assert type(result.model) is keras.Sequential
    assert "fabricfit" not in json.dumps(result.model.get_config(), default=str)
    assert "total" in str(report) and json.dumps(report.to_dict())


def test_one_compilation_serves_the_search_and_all_levels(trained, data, tmp_path):
    chosen = settings(tmp_path, tuner="halving", trials=4, regularization_range=[1e-5, 1e-3, 1e-2])
    setup = set_up(
        read(trained), get_attributes_from_keras_model(trained), ParameterEstimator, sparsity_target(chosen),
        ConstantScheduler(0, 0.8, 0.2), data, chosen,
    )  # fmt: skip
    with open_recorder(setup.settings, setup.manifest, setup.documents) as recorder:
        result = make_result(setup, recorder, Run(setup, recorder).go())
    assert len(result.history) == 4 and len(result.report.trials) == 4
    shapes = 2  # of batches: whole ones, and what is left of 300 samples
    assert setup.engine.compilations == (1 if keras.backend.backend() == "tensorflow" else shapes)


@on_one_backend
def test_nothing_of_the_callers_is_changed(trained, data, tmp_path):
    optimizer, loss = keras.optimizers.Adam(0.01), keras.losses.get(LOSS)
    metric = keras.metrics.SparseCategoricalAccuracy(name="mine")
    trained.compile(optimizer, LOSS)
    trained.fit(*data[0], verbose=0)  # a trained optimizer object used to crash the run
    attributes = get_attributes_from_keras_model(trained)
    scheduler = ConstantScheduler(0, 0.5, 0.25)
    before = (
        weights_of(trained),
        [np.array(keras.ops.convert_to_numpy(v)) for v in optimizer.variables],
        repr(attributes),
        dict(vars(scheduler)),
        [getattr(layer, "kernel_regularizer", None) for layer in trained.layers],
    )
    X, y = data[0][0].copy(), data[0][1].copy()
    optimize_model(
        trained, attributes, ParameterEstimator, scheduler, *data[0], *data[1], 64, 3,
        optimizer, loss, metric, True, 0.5, directory=str(tmp_path), tuner="Manual",
    )  # fmt: skip
    for old, new in zip(before[0], weights_of(trained), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before[1], optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    assert repr(attributes) == before[2]
    assert vars(scheduler) == before[3]
    assert [getattr(each, "kernel_regularizer", None) for each in trained.layers] == before[4]
    assert trained.optimizer is optimizer
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(metric.result()), 0)
    np.testing.assert_array_equal(data[0][0], X)
    np.testing.assert_array_equal(data[0][1], y)


def test_the_same_seed_gives_the_same_result(data, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(12, activation="relu"), L.Dropout(0.3), L.Dense(3, "softmax")]
    )
    results = []
    for number, seed in enumerate((0, 0, 1)):
        keras.utils.set_random_seed(number)
        results.append(run(model, data, tmp_path, rtol=0.1, seed=seed).model)
    for a, b in zip(weights_of(results[0]), weights_of(results[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(weights_of(results[0]), weights_of(results[2]), strict=True)
    )


@on_one_backend
def test_the_tuners_are_seeded_too(trained, data, tmp_path):
    strengths = [1e-6, 1e-4, 1e-2]
    for tuner in ("Bayesian", "Hyperband"):
        first, second = (
            run(trained, data, tmp_path, tuner=tuner, regularization_range=strengths, epochs=2)
            for _ in range(2)
        )
        for a, b in zip(weights_of(first.model), weights_of(second.model), strict=True):
            np.testing.assert_array_equal(a, b)


@on_one_backend
def test_a_metric_that_decreases_is_compared_the_other_way(trained, data, tmp_path):
    result = run(
        trained,
        data,
        tmp_path,
        validation_metric=keras.metrics.SparseCategoricalCrossentropy(name="loss_like"),
        increasing=False,
        rtol=50.0,
    )
    assert result.report.sparsity == 0.5
    assert result.report.metric_after <= 50 * result.report.metric_before
    assert run(
        trained,
        data,
        tmp_path,
        validation_metric=keras.metrics.SparseCategoricalCrossentropy(),
        increasing=False,
        rtol=1e-6,
    ).report.sparsity == 0  # fmt: skip


@on_one_backend
@pytest.mark.parametrize("tuner", [None, "Bayesian"])
def test_metrics_of_any_kind_and_name_serve(tmp_path, tuner):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)).astype("float32")
    y = (X[:, :1] > 0).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(1, activation="sigmoid")]
    )
    result = optimize(
        model,
        get_attributes_from_keras_model(model),
        ParameterEstimator(),  # an instance serves like the class
        ConstantScheduler(0, 0.3, 0.3),
        (X, y),
        (X, y),
        settings(
            tmp_path,
            loss_fn=keras.losses.BinaryCrossentropy(),
            validation_metric=keras.metrics.AUC(name="area under"),
            tuner=tuner,
            rtol=0.5,
            epochs=3,
        ),
    )
    assert result.report.metric_name == "area under" and result.report.sparsity == 0.3


@on_one_backend
@pytest.mark.parametrize("tuner", [None, "Bayesian"])
def test_a_function_serves_as_metric_and_as_loss(trained, data, tmp_path, tuner):
    def confidence(y_true, y_pred):
        return keras.ops.max(y_pred, axis=-1)

    def surprise(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    result = run(
        trained,
        data,
        tmp_path,
        validation_metric=confidence,
        loss_fn=surprise,
        rtol=0.3,
        tuner=tuner,
        regularization_range=[1e-5, 1e-4],
    )
    assert result.report.metric_name == "confidence" and result.report.sparsity == 0.5
    expected = outputs_of(result.model, data[1][0]).max(axis=-1).mean()
    assert result.report.metric_after == pytest.approx(expected, rel=1e-4)


@on_one_backend
def test_regularizers_of_the_caller_stay(data, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(0.003)),
            L.Dense(3, activation="softmax"),
        ]
    )
    result = run(model, data, tmp_path, rtol=0.1)
    assert result.report.sparsity > 0
    kept = result.model.layers[0].kernel_regularizer
    assert isinstance(kept, keras.regularizers.L2) and float(kept.l2) == pytest.approx(0.003)
    assert result.model.layers[0].kernel.regularizer is kept
    assert result.model.layers[1].kernel_regularizer is None


@on_one_backend
def test_removed_units_are_really_removed_for_flops(trained, data, tmp_path):
    result = run(trained, data, tmp_path, GPUFLOPEstimator, rtol=0.5)
    assert result.report.sparsity == 0.5
    widths = [kernel_of(result.model, name).shape for name in ("fc1", "fc2", "out")]
    flops = sum(2 * n_in * n_out + n_out for n_in, n_out in widths)
    original = sum(2 * a * b + b for a, b in ((6, 12), (12, 12), (12, 3)))
    assert flops <= 0.5 * original
    assert result.report.resources_after == (flops,)
    assert widths[0][0] == 6 and widths[2][1] == 3
    correct = outputs_of(result.model, data[1][0]).argmax(axis=1) == data[1][1]
    assert result.report.metric_after == pytest.approx(correct.mean())


@on_one_backend
def test_flops_that_cannot_be_removed_are_not_claimed(tmp_path, caplog):
    # Behind a sigmoid a zero filter is a constant that is not zero, which a padded convolution does not
    # let be folded: it is not pruned in the first place, and the report says so.
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(8, 3, activation="sigmoid", name="first"),
            L.Conv2D(4, 3, padding="same", name="second"),
            L.GlobalAveragePooling2D(),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 64)
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(
            model,
            ((X, y), (X, y)),
            tmp_path,
            GPUFLOPEstimator,
            ConstantScheduler(0, 0.4, 0.4),
            rtol=0.01,
        )
    described = get_attributes_from_keras_model(result.model)
    assert result.report.resources_after == tuple(GPUFLOPEstimator.model_utilization(described, {}))
    assert result.report.resources_after[0] <= 0.6 * result.report.resources_before[0]
    assert "'second' pads its input with zeros" in result.report.skipped["first"]
    assert not caplog.text


@on_one_backend
def test_an_uncompiled_model_serves(data, tmp_path):
    model = mlp()
    assert getattr(model, "optimizer", None) is None
    assert run(model, data, tmp_path, rtol=0.01).report.sparsity == 0.5


def test_sharing_saves_and_stays_shared(trained, data, tmp_path):
    result = run(
        trained,
        data,
        tmp_path,
        estimator("pattern", pruning=False, weight_sharing=True),
        PolynomialScheduler(2, 0, 0.5),
    )
    report = result.report
    assert report.sparsity == 0.5 and report.resources_after[0] <= 0.5 * report.resources_before[0]
    settings_ = OptimizationAttributes("pattern", weight_sharing=True, pattern_offset=36)

    groups = grouping_of((12, 12), settings_).to_groups(kernel_of(result.model, "fc2"))
    shared = np.ptp(groups, axis=1) == 0
    assert shared.any() and (groups[shared] != 0).any()
