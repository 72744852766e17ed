from __future__ import annotations

import numpy as np
import pytest

from fabricfit.datasets import load_jets
from fabricfit.errors import InvalidInputError


def test_the_jets_are_all_there_and_balanced():
    jets = load_jets()
    assert (len(jets.X_train), len(jets.X_val), len(jets.X_test)) == (36_000, 12_000, 12_000)
    assert jets.X_train.shape[1] == len(jets.features) == 16
    assert jets.classes == ("g", "q", "t", "w", "z")
    counts = np.bincount(np.concatenate([jets.y_train, jets.y_val, jets.y_test]))
    assert counts.tolist() == [12_000] * 5
    assert jets.X_train.dtype == np.float32 and jets.y_train.dtype == np.int32


def test_scaling_is_learned_on_the_training_jets_alone():
    jets, raw = load_jets(samples=2000), load_jets(samples=2000, standardize=False)
    np.testing.assert_allclose(jets.X_train.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(jets.X_train.std(axis=0), 1, atol=1e-3)
    mean, deviation = raw.X_train.mean(axis=0), raw.X_train.std(axis=0)
    np.testing.assert_allclose(jets.X_test, (raw.X_test - mean) / deviation, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "arguments", [{"samples": 3}, {"samples": 10**6}, {"validation_fraction": 1}]
)
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(InvalidInputError, match="Received"):
        load_jets(**arguments)
