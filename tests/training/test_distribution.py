"""Training over several devices, by Keras' data parallelism."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.keras

SCRIPT = """
import json, sys
import keras, numpy as np
if sys.argv[2] == "spread":
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    )
import jax
import fabricfit
from fabricfit.attributes import get_attributes_from_keras_model
from fabricfit.network.ends import Targets
from fabricfit.training import make_engine
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import ConstantScheduler

keras.utils.set_random_seed(0)
L = keras.layers
model = keras.Sequential(
    [keras.Input((8,)), L.Dense(16, "relu", name="a"), L.Dense(3, "softmax", name="b")]
)
rng = np.random.default_rng(0)
X = rng.normal(size=(250, 8)).astype("float32")
y = X[:, :3].argmax(axis=1)
settings = fabricfit.OptimizationSettings(
    batch_size=32, epochs=3, optimizer="adam", loss_fn="sparse_categorical_crossentropy",
    validation_metric="accuracy", increasing=True, rtol=None, tuner=None, directory=sys.argv[1],
)
result = fabricfit.optimize(
    model, get_attributes_from_keras_model(model), ParameterEstimator,
    ConstantScheduler(0.5, 0.5, 0.1), (X, y), (X, y), settings,
)
engine = make_engine(result.model, "sparse_categorical_crossentropy", "adam")
begun = engine._read_state()
program = jax.jit(engine._step).lower(*begun, X[:32], Targets((y[:32],))).compile().as_text()
print(json.dumps({
    "devices": len(jax.devices()), "reduces": "all-reduce" in program,
    "weights": [np.asarray(v).tolist() for v in result.model.get_weights()],
}))
"""


def run(folder, how):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), how],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_batches_are_spread_over_devices_and_the_result_is_the_same(tmp_path):
    if keras.backend.backend() != "jax":
        pytest.skip("Keras distributes on JAX")
    alone, spread = run(tmp_path, "alone"), run(tmp_path, "spread")
    assert alone["devices"] == spread["devices"] == 2
    assert spread["reduces"] and not alone["reduces"]
    for a, b in zip(alone["weights"], spread["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
