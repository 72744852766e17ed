"""Samples and a trained model that the tests of a folder share."""

from __future__ import annotations

import keras
import pytest

from tests.common import blobs, mlp
from tests.optimization.runs import LOSS


@pytest.fixture(scope="module")
def data():
    X, y = blobs(400)
    return (X[:300], y[:300]), (X[300:], y[300:])


@pytest.fixture(scope="module")
def trained(data):
    model = mlp(hidden=12)
    model.compile(keras.optimizers.Adam(0.02), LOSS, metrics=["accuracy"])
    model.fit(*data[0], epochs=8, batch_size=64, verbose=0)
    return model
