"""Shared settings of the test suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

settings.register_profile(
    "fabricfit",
    deadline=None,  # the machines are shared
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.load_profile("fabricfit")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models in several processes: PyTorch's threads only get in each other's way."""
    if os.environ.get("KERAS_BACKEND") == "torch":
        import torch

        torch.set_num_threads(1)
        # In oneDNN, gradients of strided convolutions of PyTorch 2.13 corrupt memory on some AMD processors.
        torch.backends.mkldnn.enabled = False


@pytest.fixture(scope="session")
def jets():
    from fabricfit.datasets import load_jets

    return load_jets(samples=4000)


@pytest.fixture(scope="session")
def tagger(jets):
    """A jet tagger, trained a little."""
    import keras
    import numpy as np

    from fabricfit.samples import Data
    from fabricfit.training import make_engine

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(32, activation="relu", name="fc1"),
            keras.layers.Dense(16, activation="relu", name="fc2"),
            keras.layers.Dense(16, activation="relu", name="fc3"),
            keras.layers.Dense(5, activation="softmax", name="out"),
        ]
    )
    optimizer = keras.optimizers.Adam(5e-3)
    engine = make_engine(model, "sparse_categorical_crossentropy", optimizer)
    data, rng = Data(jets.X_train, jets.y_train), np.random.default_rng(0)
    for _ in range(15):
        engine.train_epoch(data, rng.permutation(len(data)), 128)
    return model
