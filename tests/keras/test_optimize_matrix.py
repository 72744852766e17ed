"""Every ranking, structure, scope, schedule and tuner, end to end on the jets."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from fabricfit.attributes import get_attributes_from_keras_model
from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.keras.reading import kernels_of
from fabricfit.scheduler import BinaryScheduler, ConstantScheduler, PolynomialScheduler

from .common import estimator

pytestmark = pytest.mark.keras

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
    for (i, metric), (j, structure) in itertools.product(
        enumerate(METRICS), enumerate(STRUCTURES)
    )
]


def check(tagger, jets, tmp_path, metric, structure, local, scheduler, tuner):
    objective = estimator(structure, weight_sharing=structure == "pattern")
    attributes = get_attributes_from_keras_model(tagger)
    result = optimize(
        tagger,
        attributes,
        objective,
        SCHEDULERS[scheduler](),
        (jets.X_train[:1500], jets.y_train[:1500]),
        (jets.X_val, jets.y_val),
        OptimizationSettings(
            batch_size=128,
            epochs=3,
            optimizer=keras.optimizers.Adam(3e-3),
            loss_fn="sparse_categorical_crossentropy",
            validation_metric="accuracy",
            increasing=True,
            rtol=0.85,
            ranking_metric=metric,
            local=local,
            directory=tmp_path,
            tuner=tuner,
            regularization_range=[1e-5, 1e-4],
        ),
    )
    report = result.report
    assert report.sparsity == 0.5, [level.note or level.metric for level in report.levels]
    assert report.metric_after >= 0.85 * report.metric_before
    # What is saved is counted in the returned weights: zeros, and weights that equal their group's.
    saved = total = 0
    for name, kernel in kernels_of(result.model).items():
        grouping = objective.is_layer_optimizable(attributes[name])[1]
        attributes[name].optimization_attributes = grouping
        groups = attributes[name].grouping.to_groups(keras.ops.convert_to_numpy(kernel))
        removed = ~groups.any(axis=1)
        if grouping.weight_sharing:
            removed |= np.ptp(groups, axis=1) == 0
        saved += int(attributes[name].grouping.member_counts[removed].sum())
        total += kernel.shape[0] * kernel.shape[1]
        if local and structure != "structured":
            assert saved >= 0
            members = attributes[name].grouping.member_counts
            assert members[removed].sum() >= 0.5 * members.sum()
    assert saved >= 0.5 * total
    assert report.resources_after[0] <= 0.5 * report.resources_before[0]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: "-".join(map(str, case)))
def test_each_value_of_each_option(tagger, jets, tmp_path, case):
    check(tagger, jets, tmp_path, *case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: "-".join(map(str, case)))
def test_all_combinations(tagger, jets, tmp_path, case):
    check(tagger, jets, tmp_path, *case)
