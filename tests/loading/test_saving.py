"""Files made in memory hold what Keras writes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.loading import serialize_model, serialize_weights
from tests.common import weights_of

pytestmark = pytest.mark.keras


def test_what_is_made_in_memory_is_what_keras_reads(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")], name="m")
    model.compile("adam", "mse")
    (tmp_path / "a.keras").write_bytes(serialize_model(model))
    (tmp_path / "a.weights.h5").write_bytes(serialize_weights(model))
    again = keras.saving.load_model(tmp_path / "a.keras")
    assert again.name == "m" and isinstance(again.optimizer, keras.optimizers.Adam)
    again.get_layer("fc").kernel.assign(np.zeros((4, 3)))
    again.load_weights(tmp_path / "a.weights.h5")
    for one, other in zip(weights_of(model), weights_of(again), strict=True):
        np.testing.assert_array_equal(one, other)
