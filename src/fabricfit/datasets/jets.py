"""LHC jets with 16 features and 5 classes, the usual example of hls4ml's papers."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np

from fabricfit.errors import InvalidInputError, spell

__all__ = ["Jets", "load_jets"]

TRAIN_SIZE = 48_000


class Jets(NamedTuple):
    """Jets, split into training, validation and test samples.

    Each ``X`` has the shape ``(n, 16)``, float32; each ``y`` the shape ``(n,)``, int32, with class
    numbers into ``classes``.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    features: tuple[str, ...]
    classes: tuple[str, ...]


def load_jets(
    *,
    samples: int | None = None,
    validation_fraction: float = 0.25,
    standardize: bool = True,
) -> Jets:
    """Load jets with 16 high-level features, in five balanced classes: g, q, t, w, z.

    The jets were regenerated with Pythia 8 and FastJet, after the recipe of the well-known set of Duarte
    et al. (2018), arXiv:1804.06913; they are not that set. Accuracies on the two must not be compared:
    a 16-64-32-32-5 network reaches about 65 % here.

    Parameters
    ----------
    samples
        Number of jets to train and validate with, the first ones; at most and by default 48,000. The
        12,000 test jets are always complete.
    validation_fraction
        Fraction of them for validation, above 0 and below 1.
    standardize
        Shift and scale each feature to mean 0 and deviation 1 on the training jets.

    Raises
    ------
    InvalidInputError
        A number is out of its range.
    """
    count = TRAIN_SIZE if samples is None else samples
    if not 10 <= count <= TRAIN_SIZE:
        raise InvalidInputError(
            f"samples must be from 10 to {TRAIN_SIZE}. Received: samples={spell(samples)}"
        )
    if not 0 < validation_fraction < 1:
        raise InvalidInputError(
            "validation_fraction must be above 0 and below 1. "
            f"Received: validation_fraction={spell(validation_fraction)}"
        )
    source = resources.files(__package__).joinpath("lhc_jets_pythia8.npz")
    with resources.as_file(source) as path, np.load(path, allow_pickle=False) as arrays:
        X, y = arrays["X_train"][:count], arrays["y_train"][:count].astype(np.int32)
        X_test, y_test = arrays["X_test"], arrays["y_test"].astype(np.int32)
        features, classes = tuple(map(str, arrays["features"])), tuple(map(str, arrays["classes"]))
    split = min(max(round(count * (1 - validation_fraction)), 1), count - 1)
    if standardize:
        mean, deviation = X[:split].mean(axis=0), X[:split].std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1).astype(np.float32)
        X, X_test = (X - mean) / deviation, (X_test - mean) / deviation
    return Jets(X[:split], y[:split], X[split:], y[split:], X_test, y_test, features, classes)
