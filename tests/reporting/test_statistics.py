"""Statistics of predictions, against scikit-learn and against samples drawn again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fabricfit.reporting.performance import Performance
from fabricfit.reporting.predictions import describe_output
from fabricfit.reporting.statistics import (
    Measured,
    area_under_roc,
    confusion_matrix,
    measure_mean,
    roc_curve,
    root_of,
)

RNG = np.random.default_rng(3)
COUNT = 1500
LABELS = RNG.integers(0, 3, COUNT)
SCORES = np.round(RNG.normal(size=(COUNT, 3)) + 1.3 * np.eye(3)[LABELS], 1)  # many are equal
WEIGHTS = RNG.exponential(size=COUNT)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_area_is_that_of_scikit_learn(weights):
    metrics = pytest.importorskip("sklearn.metrics")
    for place in range(3):
        positive = np.equal(LABELS, place)
        found = area_under_roc(SCORES[:, place], positive, weights)
        expected = metrics.roc_auc_score(positive, SCORES[:, place], sample_weight=weights)
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_the_curve_is_that_of_scikit_learn_at_chosen_points():
    metrics = pytest.importorskip("sklearn.metrics")
    positive, scores = LABELS == 1, RNG.normal(size=COUNT) + (LABELS == 1)
    others, share, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    known = {(round(float(x), 6), round(float(y), 6)) for x, y in zip(others, share, strict=True)}
    points = roc_curve(scores, positive)
    assert points[0] == (0.0, 0.0) and points[-1] == (1.0, 1.0) and len(points) <= 122
    assert set(points) <= known and points == tuple(sorted(points))
    area = np.trapezoid([y for _, y in points], [x for x, _ in points])
    assert area == pytest.approx(area_under_roc(scores, positive).value, abs=3e-3)


def test_the_error_of_an_area_is_the_spread_of_samples_drawn_again():
    positive = LABELS == 0
    drawn = [RNG.integers(0, COUNT, COUNT) for _ in range(400)]
    values = [area_under_roc(SCORES[i, 0], positive[i]).value for i in drawn]
    assert area_under_roc(SCORES[:, 0], positive).error == pytest.approx(np.std(values), rel=0.12)
    alike = area_under_roc(SCORES[:, 0], positive, np.full(COUNT, 7.0))
    assert alike.error == pytest.approx(area_under_roc(SCORES[:, 0], positive).error)


def test_samples_of_one_kind_have_no_area():
    found = area_under_roc(SCORES[:, 0], np.ones(COUNT, bool))
    assert np.isnan(found.value) and np.isnan(found.error)
    assert roc_curve(SCORES[:, 0], np.zeros(COUNT, bool)) == ()


def test_the_error_of_a_share_is_binomial():
    right = RNG.random(COUNT) < 0.7
    found = measure_mean(right)
    assert found.error == pytest.approx(np.sqrt(found.value * (1 - found.value) / COUNT))
    assert np.isnan(measure_mean(np.zeros(0)).value)
    assert measure_mean(np.ones(75, bool)) == Measured(1.0, 0.0)
    assert area_under_roc(np.full(COUNT, 0.3), right) == Measured(0.5, 0.0)  # it tells nothing


def test_the_error_of_a_root_is_the_spread_of_samples_drawn_again():
    residuals = RNG.normal(size=COUNT)
    found = root_of(measure_mean(residuals**2))
    drawn = [residuals[RNG.integers(0, COUNT, COUNT)] for _ in range(400)]
    values = [np.sqrt(np.mean(each**2)) for each in drawn]
    assert found.value == pytest.approx(np.sqrt(np.mean(residuals**2)))
    assert found.error == pytest.approx(np.std(values), rel=0.12)


def test_a_matrix_of_confusion_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    predicted = SCORES.argmax(axis=1)
    found = np.array(confusion_matrix(LABELS, predicted, 3))
    np.testing.assert_array_equal(found, metrics.confusion_matrix(LABELS, predicted))


def test_classes_are_told_by_number_or_by_vector():
    by_number = describe_output("out", LABELS[:, None], [SCORES, SCORES / 2], None, ("a", "b", "c"))
    by_vector = describe_output("out", np.eye(3)[LABELS], [SCORES, SCORES / 2], None, "abc")
    assert by_number == by_vector and by_number.labels == ("a", "b", "c")
    found = by_number.quantized.classes
    assert found.accuracy.value == pytest.approx((SCORES.argmax(axis=1) == LABELS).mean())
    recognized = [row[i] / sum(row) for i, row in enumerate(found.confusion)]
    assert [rate.value for rate in found.rates] == pytest.approx(recognized)


@pytest.mark.parametrize("middle", [0.5, 0.0])
def test_a_single_channel_tells_two_classes(middle):
    labels = (LABELS == 0).astype(float)
    logits = 2 * labels - 1 + RNG.normal(size=COUNT)
    outputs = logits if middle == 0 else 1 / (1 + np.exp(-logits))
    found = describe_output("out", labels, [outputs[:, None], None])
    assert found.labels == ("0", "1") and found.quantized is None
    expected = ((outputs > middle) == labels).mean()
    assert found.in_floats.classes.accuracy.value == pytest.approx(expected)


def test_several_labels_of_a_sample_have_no_matrix():
    wanted = RNG.integers(0, 2, (COUNT, 4))
    found = describe_output("out", wanted, [wanted * 0.8 + 0.1, None]).in_floats.classes
    assert found.accuracy.value == 1 and found.confusion == ()
    assert [area.value for area in found.areas] == pytest.approx([1.0] * 4)


def test_numbers_have_residuals():
    wanted = RNG.normal(size=(COUNT, 2))
    outputs = wanted + [0.5, 0] + 0.1 * RNG.normal(size=(COUNT, 2))
    found = describe_output("out", wanted, [outputs, outputs - 0.1], None, ("x", "y"))
    bias, deviation = found.in_floats.residuals[0].bias, found.in_floats.residuals[0].deviation
    assert bias.value == pytest.approx(0.5, abs=0.02) and bias.error < 0.01
    assert deviation.value == pytest.approx(np.hypot(0.5, 0.1), abs=0.02)
    assert found.quantized.residuals[1].bias.value == pytest.approx(-0.1, abs=0.02)
    assert sum(found.in_floats.residuals[0].counts) == COUNT  # none is lost at the ends


def test_errors_are_of_samples_where_each_has_several_positions():
    labels = np.repeat(LABELS[:, None], 5, axis=1)
    outputs = np.repeat(SCORES[:, None], 5, axis=1)
    found = describe_output("out", labels, [outputs, None]).in_floats.classes
    single = describe_output("out", LABELS, [SCORES, None]).in_floats.classes
    assert found.accuracy.error == pytest.approx(
        single.accuracy.error
    )  # not smaller by the root of 5
    assert np.isnan(found.rates[0].error)


@pytest.mark.parametrize("targets", [np.zeros((COUNT, 7)), np.full(COUNT, 9), np.full(COUNT, 0.5)])
def test_targets_that_do_not_tell_are_left_out(targets):
    assert describe_output("out", targets, [SCORES, None]) is None


def test_what_was_measured_is_written_and_read_with_each_value_checked():
    output = describe_output("out", LABELS, [SCORES, None])
    wanted = RNG.normal(size=(COUNT, 2))
    numbers = describe_output("n", wanted, [wanted, wanted])
    measured = Measured(0.6, 0.01)
    found = Performance(COUNT, "accuracy", measured, measured, measured, (output, numbers), "no")
    plain = json.loads(json.dumps(found.to_dict()))
    again = Performance.from_dict(plain)
    assert again.to_dict() == found.to_dict() and "0.600 ± 0.010 in floats" in str(again)
    plain["outputs"][0]["labels"].pop()
    with pytest.raises(ValueError, match="2 of everything"):
        Performance.from_dict(plain)
