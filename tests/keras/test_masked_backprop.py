from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.keras import MaskedBackprop
from fabricfit.network.describe import get_attributes_from_keras_model
from tests.common import blobs, kernel_of, mlp

pytestmark = pytest.mark.keras


@pytest.fixture
def step():
    model = mlp()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    attributes = get_attributes_from_keras_model(model)
    attributes["fc1"].optimizable = True
    attributes["fc1"].optimization_attributes = OptimizationAttributes(pruning=True)
    return MaskedBackprop(model, keras.losses.SparseCategoricalCrossentropy(), attributes)


def test_the_loss_is_that_of_the_batch_and_falls(step):
    X, y = blobs(64)
    outputs = np.array(keras.ops.convert_to_numpy(step.model(X)))
    expected = -np.log(outputs[np.arange(64), y]).mean()
    losses = [step(X, y, 0.5) for _ in range(30)]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.8 * losses[0]


def test_masks_are_never_stale(step):
    # The same sparsity, other masks: the step must use the new ones.
    X, y = blobs(64)
    for seed in range(3):
        mask = np.random.default_rng(seed).integers(0, 2, (6, 8))
        step.update_masks({"fc1": mask})
        step(X, y, 0.5)
        assert (kernel_of(step.model, "fc1")[mask == 0] == 0).all()
        step.update_masks({"fc1": np.ones((6, 8))})
        step(X, y, 0.5)
        # A unit that no sample activates has no gradient; all others move.
        assert (kernel_of(step.model, "fc1")[mask == 0] != 0).mean() > 0.5


def test_an_uncompiled_model_is_refused():
    model = mlp()
    with pytest.raises(InvalidInputError, match="Compile it"):
        MaskedBackprop(model, "mse", get_attributes_from_keras_model(model))
