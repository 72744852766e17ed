"""The check of criteria: ours pass it, and what is wrong does not."""

from __future__ import annotations

import numpy as np
import pytest

from fabricfit.choices.ranking import Criterion
from fabricfit.testing import check_criterion


@pytest.mark.parametrize("name", ["l1", "l2", "oracle", "saliency"])
def test_ours_pass(name):
    check_criterion(name)


def test_one_s_own_passes():
    check_criterion(Criterion("cubic", lambda change, **_: np.abs(change) ** 3))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda change, **_: change, "at least 0"),
        (lambda change, **_: np.abs(change) + 1, "where no weight changes"),
        (lambda change, **_: np.full(change.shape, np.nan), "finite losses"),
        (lambda change, **_: np.zeros(change.shape), "no weight loses anything"),
        (
            lambda change, **_: np.abs(change) * np.arange(len(change))[:, None],
            "when they stand elsewhere",
        ),
    ],
)
def test_what_is_wrong_is_told(loss, message):
    with pytest.raises(AssertionError, match=message):
        check_criterion(Criterion("mine", loss))


def test_arrays_that_are_changed_are_seen():
    def greedy(change, *, weights, **_):
        weights[0] = 0
        return np.abs(change)

    with pytest.raises(AssertionError, match="changed its weights"):
        check_criterion(Criterion("greedy", greedy))
