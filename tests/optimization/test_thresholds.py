"""What a level may lose: a part of the metric, a difference, or anything."""

import pytest

keras = pytest.importorskip("keras")

from fabricfit import OptimizationSettings
from fabricfit.errors import InvalidInputError
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def settings(increasing=True, rtol=None, max_drop=None):
    return OptimizationSettings(
        batch_size=8,
        epochs=2,
        optimizer="adam",
        loss_fn="mse",
        validation_metric="mse",
        increasing=increasing,
        rtol=rtol,
        max_drop=max_drop,
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"rtol": 0.9}, 0.72),
        ({"max_drop": 0.05}, 0.75),
        ({"max_drop": 0}, 0.8),
        ({"increasing": False, "rtol": 1.1}, 0.88),
        ({"increasing": False, "max_drop": 0.05}, 0.85),
    ],
)
def test_the_metric_that_has_to_be_reached(options, expected):
    made = settings(**options)
    found = made.threshold(0.8)
    assert found == (None if expected is None else pytest.approx(expected))
    assert made.is_bounded == (expected is not None)


@pytest.mark.parametrize("drop", [-0.1, float("nan"), float("inf"), "0.1", True])
def test_drops_are_checked(drop):
    with pytest.raises(InvalidInputError, match="max_drop must be a number of at least 0"):
        settings(max_drop=drop)


def test_two_thresholds_are_one_too_many():
    with pytest.raises(InvalidInputError, match="not both"):
        settings(rtol=0.9, max_drop=0.1)
