"""Every ranking, structure, scope, schedule and tuner, end to end on the jets."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import grouping_of
from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.scheduler import BinaryScheduler, ConstantScheduler, PolynomialScheduler
from tests.common import estimator
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

METRICS = ("l1", "l2", "oracle", "saliency")
STRUCTURES = ("unstructured", "structured", "pattern", "block")
SCHEDULERS = {
    "constant": lambda: ConstantScheduler(0, 0.5, 0.25),
    "binary": lambda: BinaryScheduler(0, 0.5, 0.2),
    "polynomial": lambda: PolynomialScheduler(2, 0, 0.5),
}
TUNERS = (None, "Manual", "Bayesian", "Hyperband")

ALL = list(itertools.product(METRICS, STRUCTURES, (False, True), SCHEDULERS, TUNERS))
# Every metric with every structure, and each of the other values with several of them.
QUICK = [
    (
        metric,
        structure,
        (i + j) % 2 == 1,
        tuple(SCHEDULERS)[(i + 2 * j) % 3],
        TUNERS[2 + (i // 2) % 2] if i == j else TUNERS[(i + j) % 2],
    )
    for (i, metric), (j, structure) in itertools.product(enumerate(METRICS), enumerate(STRUCTURES))
]


def check(tagger, jets, tmp_path, metric, structure, local, scheduler, tuner):
    objective = estimator(structure, weight_sharing=structure == "pattern")
    attributes = get_attributes_from_keras_model(tagger)
    result = optimize(
        tagger,
        attributes,
        objective,
        SCHEDULERS[scheduler](),
        (jets.X_train, jets.y_train),
        (jets.X_val, jets.y_val),
        OptimizationSettings(
            batch_size=128,
            epochs=12,
            optimizer=keras.optimizers.Adam(5e-3),
            loss_fn="sparse_categorical_crossentropy",
            validation_metric="accuracy",
            increasing=True,
            rtol=0.8,
            ranking_metric=metric,
            local=local,
            directory=tmp_path,
            tuner=tuner,
            regularization_range=[1e-5, 1e-4],
        ),
    )
    report = result.report
    assert report.sparsity == 0.5, [level.note or level.metric for level in report.levels]
    assert report.metric_after >= 0.8 * report.metric_before
    # What is saved is counted in the returned weights: zeros, and weights that equal their group's.
    weights, saved = {}, {}
    for name, found in read(result.model).kernels.items():
        settings = objective.is_layer_optimizable(attributes[name])[1]
        kernel = found.variable
        grouping = grouping_of(kernel.shape, settings)
        groups = grouping.to_groups(keras.ops.convert_to_numpy(kernel))
        removed = ~groups.any(axis=1)
        if settings.weight_sharing:
            removed |= np.ptp(groups, axis=1) == 0
        weights[name] = grouping.size
        saved[name] = int(grouping.member_counts[removed].sum())
    if local:
        for name in set(weights) - set(report.skipped):
            assert saved[name] >= 0.5 * weights[name]
    else:
        assert sum(saved.values()) >= 0.5 * sum(weights.values())
        assert report.resources_after[0] <= 0.5 * report.resources_before[0]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: "-".join(map(str, case)))
def test_each_value_of_each_option(tagger, jets, tmp_path, case):
    check(tagger, jets, tmp_path, *case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: "-".join(map(str, case)))
def test_all_combinations(tagger, jets, tmp_path, case):
    check(tagger, jets, tmp_path, *case)
