"""The smaller model is trained at the end, where whole units have been removed."""

import keras
import numpy as np
import pytest

from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.optimization.finishing import _falling_rate
from fabricfit.scheduler import ConstantScheduler
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def blobs(samples, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, samples)
    centres = np.random.default_rng(7).normal(size=(4, 8))
    return (1.2 * centres[y] + rng.normal(size=(samples, 8))).astype("float32"), y


@pytest.fixture(scope="module")
def case():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(24, "relu", name="a"),
            keras.layers.Dense(16, "relu", name="b"),
            keras.layers.Dense(4, "softmax", name="out"),
        ]
    )
    data = (blobs(512, 0), blobs(400, 1))
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(*data[0], batch_size=64, epochs=4, verbose=0)
    return model, data


def prune(case, directory, **changes):
    model, data = case
    options = {
        "batch_size": 64,
        "epochs": 1,
        "optimizer": keras.optimizers.Adam(5e-3),
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "tuner": None,
        "rewinding_epochs": 0,
        "directory": directory,
        **changes,
    }
    return optimize(
        model,
        get_attributes_from_keras_model(model),
        GPUFLOPEstimator,
        ConstantScheduler(0.8, 0.8, 0.8),
        *data,
        OptimizationSettings(**options),
    )


def accuracy(model, data):
    X, y = data[1]
    return float((model.predict(X, verbose=0).argmax(axis=1) == y).mean())


def test_the_smaller_model_gains_by_it(case, tmp_path):
    without = prune(case, tmp_path, finishing_epochs=0)
    with_it = prune(case, tmp_path, finishing_epochs=8)
    assert not any("trained for" in each for each in without.report.remarks)
    assert any("trained for 8 epochs" in each for each in with_it.report.remarks)
    assert with_it.model.count_params() == without.model.count_params()
    assert with_it.report.resources_after == without.report.resources_after
    assert with_it.report.metric_after == pytest.approx(accuracy(with_it.model, case[1]))
    assert with_it.report.metric_after > without.report.metric_after


def test_weights_that_training_makes_worse_are_not_kept(case, tmp_path):
    without = prune(case, tmp_path, finishing_epochs=0)

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if self.model.count_params() < case[0].count_params():
                for variable in self.model.trainable_variables:
                    variable.assign(variable * 0)

    spoiled = prune(case, tmp_path, finishing_epochs=1, callbacks=[Spoil()])
    assert spoiled.report.metric_after == pytest.approx(accuracy(spoiled.model, case[1]))
    for found, expected in zip(
        spoiled.model.get_weights(), without.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


class Stop(keras.callbacks.Callback):
    """Interrupts the training of a smaller model in its third epoch."""

    def __init__(self, parameters):
        super().__init__()
        self.parameters = parameters

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and self.model.count_params() < self.parameters:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_as_an_unbroken_one(case, tmp_path):
    options = {"finishing_epochs": 4, "checkpoint_seconds": 0}
    unbroken = prune(case, tmp_path / "unbroken", **options)
    with pytest.raises(KeyboardInterrupt):
        stop = Stop(case[0].count_params())
        prune(case, tmp_path / "broken", callbacks=[stop], **options)
    resumed = prune(case, tmp_path / "broken", resume=True, **options)
    for found, expected in zip(
        resumed.model.get_weights(), unbroken.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_learning_rate_falls_unless_it_has_a_schedule():
    optimizer = keras.optimizers.Adam(2e-3)
    (callback,) = _falling_rate(optimizer, 5)
    rates = [callback.schedule(epoch, 0.0) for epoch in range(5)]
    assert rates[0] == pytest.approx(2e-3)
    assert rates[-1] == pytest.approx(4e-5)
    assert rates == sorted(rates, reverse=True)
    scheduled = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5))
    assert _falling_rate(scheduled, 5) == []
