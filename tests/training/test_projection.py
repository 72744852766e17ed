"""Frozen constants and shared values through training, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import blobs, kernel_of, mlp

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"
SHAPE = (8, 8)


def engine_for(model, optimizer="adamw", constants=True):
    attributes = get_attributes_from_keras_model(model)
    attributes["fc2"].optimizable = True
    attributes["fc2"].optimization_attributes = OptimizationAttributes(
        "unstructured", pruning=True, constants=constants
    )
    return make_engine(model, LOSS, optimizer, attributes)


def treated():
    """Half of the weights trained, a quarter constant, the rest shared by twos on their input."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE)
    mask[:, :4] = 1
    offset = np.zeros(SHAPE)
    offset[:, 4:6] = rng.choice([-0.5, 0, 0.25, 0.75], (8, 2))
    cluster = np.zeros(SHAPE, int)
    cluster[:, 6:] = np.arange(1, 9)[:, None]
    return mask, offset, cluster


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_constants_stay_and_shared_weights_train_as_one(optimizer):
    X, y = blobs(96)
    model = mlp()
    engine = engine_for(model, optimizer)
    before = kernel_of(model, "fc2")
    mask, offset, cluster = treated()
    engine.projection.update({"fc2": mask}, {"fc2": offset}, {"fc2": cluster})
    engine.project_weights()
    start = kernel_of(model, "fc2")
    np.testing.assert_array_equal(start[:, :4], before[:, :4])
    np.testing.assert_array_equal(start[:, 4:6], offset[:, 4:6].astype("float32"))
    np.testing.assert_allclose(start[:, 6], before[:, 6:].mean(axis=1), rtol=1e-6)
    for _ in range(3):
        engine.train_epoch(Data(X, y), np.arange(96), 32)
    after = kernel_of(model, "fc2")
    np.testing.assert_array_equal(after[:, 4:6], start[:, 4:6])
    np.testing.assert_array_equal(after[:, 6], after[:, 7])
    assert (after[:, 6] != start[:, 6]).any()
    assert (after[:, :4] != start[:, :4]).any()


def test_a_shared_value_moves_by_the_mean_gradient_of_its_weights():
    X, y = blobs(32)
    shared, single = mlp(), mlp()
    equal = kernel_of(shared, "fc2")
    equal[0] = equal[0, 0]
    for model in (shared, single):
        model.get_layer("fc2").kernel.assign(equal)
    engine = engine_for(shared, "sgd")
    cluster = np.zeros(SHAPE, int)
    cluster[0] = 1
    mask = (cluster == 0).astype(float)
    engine.projection.update({"fc2": mask}, {"fc2": cluster * equal}, {"fc2": cluster})
    engine.step(X, y)
    make_engine(single, LOSS, "sgd").step(X, y)
    moved = kernel_of(single, "fc2") - equal
    np.testing.assert_allclose(
        kernel_of(shared, "fc2")[0] - equal[0], np.full(8, moved[0].mean()), atol=1e-7
    )
    np.testing.assert_allclose(
        kernel_of(shared, "fc2")[1:], kernel_of(single, "fc2")[1:], atol=1e-7
    )


def test_all_trains_again_after_a_release():
    X, y = blobs(64)
    model = mlp()
    engine = engine_for(model)
    mask, offset, cluster = treated()
    engine.projection.update({"fc2": mask}, {"fc2": offset}, {"fc2": cluster})
    engine.project_weights()
    start = kernel_of(model, "fc2")
    engine.projection.release()
    engine.train_epoch(Data(X, y), np.arange(64), 32)
    assert (kernel_of(model, "fc2")[:, 4:6] != start[:, 4:6]).any()


def test_constants_need_attributes_that_allow_them():
    model = mlp()
    engine = engine_for(model, constants=False)
    mask, offset, _ = treated()
    with pytest.raises(InvalidInputError, match="do not allow"):
        engine.projection.update({"fc2": mask}, {"fc2": offset})
