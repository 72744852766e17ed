"""Standard errors of metrics, against formulas and against metrics of samples drawn again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.firmware.metric_errors import measure_parts, standard_error
from fabricfit.firmware.metrics import measure
from fabricfit.losses import ModelMetric
from fabricfit.network.ends import Targets
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND
RNG = np.random.default_rng(5)
COUNT = 2000
LABELS = RNG.integers(0, 3, COUNT)
OUTPUTS = RNG.normal(size=(COUNT, 3)) + 1.2 * np.eye(3)[LABELS]


def test_that_of_an_accuracy_is_the_binomial_one():
    metric, y = ModelMetric("accuracy"), Targets((LABELS,))
    (share,) = measure(metric, y, [OUTPUTS]).values()
    error = standard_error(metric, y, [OUTPUTS])
    assert error == pytest.approx(np.sqrt(share * (1 - share) / COUNT), rel=1e-5)


def test_that_of_a_mean_over_samples_is_the_deviation_over_the_root():
    targets = RNG.normal(size=(COUNT, 2))
    outputs = targets + RNG.normal(size=(COUNT, 2))
    errors = ((targets - outputs) ** 2).mean(axis=1)
    found = standard_error(ModelMetric("mse"), Targets((targets,)), [outputs])
    assert found == pytest.approx(errors.std() / np.sqrt(COUNT), rel=1e-4)


def test_weights_of_samples_count():
    weights = RNG.exponential(size=COUNT)
    metric, y = ModelMetric("accuracy"), Targets((LABELS,), (weights,))
    (share,) = measure(metric, y, [OUTPUTS]).values()
    right = OUTPUTS.argmax(axis=1) == LABELS
    assert share == pytest.approx(np.average(right, weights=weights), rel=1e-5)
    expected = np.sqrt(np.sum(weights**2 * (right - share) ** 2)) / weights.sum()
    assert standard_error(metric, y, [OUTPUTS]) == pytest.approx(expected, rel=1e-4)


def test_that_of_an_auc_is_near_the_spread_of_samples_drawn_again():
    metric = ModelMetric(keras.metrics.AUC(num_thresholds=500))
    labels = (LABELS == 0).astype("float32")[:, None]
    scores = 1 / (1 + np.exp(-OUTPUTS[:, :1]))
    error = standard_error(metric, Targets((labels,)), [scores])
    drawn = [RNG.integers(0, COUNT, COUNT) for _ in range(40)]
    values = [[*measure(metric, Targets((labels[i],)), [scores[i]]).values()] for i in drawn]
    assert error == pytest.approx(np.std(values), rel=0.6)
    assert len(measure_parts(metric, Targets((labels,)), [scores])) == 20


def test_a_single_sample_tells_nothing():
    metric = ModelMetric(keras.metrics.AUC())
    y, outputs = Targets((np.ones((1, 1)),)), [np.full((1, 1), 0.7)]
    assert np.isnan(standard_error(metric, y, outputs))
