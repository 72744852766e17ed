from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models in several processes: PyTorch's threads only get in each other's way."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def jets():
    from fabricfit.datasets import load_jets

    return load_jets(samples=4000)


@pytest.fixture(scope="session")
def tagger(jets):
    """A jet tagger, trained a little."""
    import keras
    import numpy as np

    from fabricfit.keras.training import Data, make_engine

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
