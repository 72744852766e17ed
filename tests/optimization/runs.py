"""A small run, as most tests of the loop need it."""

from __future__ import annotations

import keras

from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import ConstantScheduler

LOSS = "sparse_categorical_crossentropy"


def settings(tmp_path, **changes):
    options = {
        "batch_size": 64,
        "epochs": 4,
        "optimizer": keras.optimizers.Adam(0.01),
        "loss_fn": LOSS,
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": 0.7,
        "rewinding_epochs": 1,
        "directory": tmp_path,
        "tuner": None,
        "regularization_range": [1e-4],
        **changes,
    }
    return OptimizationSettings(**options)


def run(model, data, tmp_path, objective=ParameterEstimator, scheduler=None, **changes):
    return optimize(
        model,
        get_attributes_from_keras_model(model),
        objective,
        scheduler or ConstantScheduler(0, 0.5, 0.25),
        *data,
        settings(tmp_path, **changes),
    )
