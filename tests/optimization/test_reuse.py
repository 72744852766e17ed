"""A search over budgets does not compute again what one run has computed."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import ConstantScheduler
from tests.common import blobs, kernel_of, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

CONFIG = {
    "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"},
    "IOType": "io_parallel",
}


@pytest.fixture(scope="module")
def data():
    X, y = blobs(400)
    return (X[:300], y[:300]), (X[300:], y[300:])


def settings(tmp_path, **changes):
    options = {
        "optimizer": keras.optimizers.Adam(0.01),
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "directory": tmp_path,
        "regularization_range": [1e-4, 1e-2],
        "search": 3,
        **changes,
    }
    return OptimizationSettings(64, 4, increasing=True, rtol=None, **options)


def run(model, data, tmp_path, end=0.5, reuse=None, **changes):
    return optimize(
        model,
        get_attributes_from_keras_model(model),
        ParameterEstimator,
        ConstantScheduler(0, end, 0.25),
        *data,
        settings(tmp_path, **changes),
        reuse=reuse,
    )


def zeros(model):
    kernels = [kernel_of(model, name) for name in ("fc1", "fc2", "out")]
    return sum(int((k == 0).sum()) for k in kernels) / sum(k.size for k in kernels)


def test_a_tighter_target_goes_on_from_where_the_looser_one_ended(data, tmp_path):
    model = mlp(hidden=12)
    first = run(model, data, tmp_path, 0.5)
    assert len(first.report.trials) == 3 and first.report.sparsity == 0.5
    second = run(model, data, tmp_path, 0.75, reuse=first)
    assert second.report.trials == first.report.trials
    levels = second.report.levels
    assert [(level.sparsity, level.epochs > 0) for level in levels] == [
        (0.25, False), (0.5, False), (0.75, True),
    ]  # fmt: skip
    assert [level.note for level in levels] == ["met by the earlier run"] * 2 + [""]
    assert levels[1].metric == first.report.metric_after
    assert zeros(second.model) >= 0.75
    assert first.report.metric_before == second.report.metric_before
    third = run(model, data, tmp_path, 0.8, reuse=second)  # it can be handed on
    assert zeros(third.model) >= 0.8


def test_a_looser_target_takes_the_strengths_alone(data, tmp_path):
    model = mlp(hidden=12)
    first = run(model, data, tmp_path, 0.75)
    second = run(model, data, tmp_path, 0.25, reuse=first)
    assert second.report.trials == first.report.trials
    assert all(level.epochs for level in second.report.levels)
    assert 0.25 <= zeros(second.model) < 0.5


def test_the_same_run_again_is_the_same_as_a_new_one(data, tmp_path):
    model = mlp(hidden=12)
    first = run(model, data, tmp_path)
    start = replace(first.start, weights=None)
    second = run(model, data, tmp_path, reuse=replace(first, start=start))
    for name in ("fc1", "fc2", "out"):
        np.testing.assert_array_equal(kernel_of(first.model, name), kernel_of(second.model, name))


def test_a_run_of_something_else_is_refused(data, tmp_path):
    model = mlp(hidden=12)
    first = run(model, data, tmp_path)
    others = {
        "the model": (mlp(hidden=12, seed=1), data, {}),
        "the training data": (model, ((data[0][0] + 1, data[0][1]), data[1]), {}),
        "the validation data": (model, (data[0], (data[1][0][:50], data[1][1][:50])), {}),
        "optimizer": (model, data, {"optimizer": keras.optimizers.Adam(0.1)}),
        "regularization_range": (model, data, {"regularization_range": [1.0]}),
        "seed": (model, data, {"seed": 1}),
    }
    for name, (other, samples, changes) in others.items():
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InvalidInputError, match=f"It differs in: {name}"):
            run(other, samples, tmp_path, reuse=first, **changes)
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(InvalidTypeError, match="reuse must be an OptimizationResult"):
        run(model, data, tmp_path, reuse=first.report)


def test_budgets_one_after_the_other(data, tmp_path):
    model = mlp(hidden=12)
    options = settings(tmp_path, tuner=None)
    loose = fabricfit.fit(model, *data, Budget.relative(dsp=0.7), options, hls_config=CONFIG)
    tight = fabricfit.fit(
        model, *data, Budget.relative(dsp=0.4), options, hls_config=CONFIG, reuse=loose
    )
    assert loose.report.fits and tight.report.fits
    assert any(level.note == "met by the earlier run" for level in tight.report.levels)
    assert sum(level.epochs for level in tight.report.levels) > 0
