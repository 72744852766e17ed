"""Derivatives that rank weights: when they are computed anew, and in which layers."""

import keras
import numpy as np
import pytest

from fabricfit.curvature import model_hessian
from fabricfit.losses import ModelLoss
from fabricfit.network.reader import read
from fabricfit.optimization.ranking_statistics import RankingStatistics
from fabricfit.samples import Data, Door, open_data
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

LOSS = "sparse_categorical_crossentropy"


@pytest.fixture
def case():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, "relu", name="a"),
            keras.layers.Dense(4, "softmax", name="b"),
        ]
    )
    rng = np.random.default_rng(0)
    network = read(model)
    loss = ModelLoss(LOSS, None, network.ends.outputs)
    given = (rng.normal(size=(300, 5)), rng.integers(0, 4, 300))
    data = open_data(given, "train_data", Door(network.ends, loss.needed))
    assert isinstance(data, Data)
    return network, loss, data


def move(network, part):
    for kernel in network.kernels.values():
        kernel.variable.assign(np.asarray(kernel.used()) * (1 + part))


def curvature_of(statistics, network, data, part=1.0):
    return statistics.compute(network, ["a", "b"], data, part)["hessians"]


def test_bounded_derivatives_serve_until_the_weights_have_moved(case):
    network, loss, data = case
    statistics = RankingStatistics(loss, ["hessians"], {}, 100)
    first = curvature_of(statistics, network, data)
    move(network, 0.05)
    assert (curvature_of(statistics, network, data)["a"] == first["a"]).all()
    move(network, 0.1)
    later = curvature_of(statistics, network, data)
    assert (later["a"] != first["a"]).any()
    move(network, 0.05)
    assert (curvature_of(statistics, network, data)["a"] == later["a"]).all()


def test_cheap_derivatives_are_always_those_of_the_moment(case):
    network, loss, data = case
    statistics = RankingStatistics(loss, ["hessians"], {}, None)
    first = curvature_of(statistics, network, data)
    move(network, 0.001)
    assert (curvature_of(statistics, network, data)["a"] != first["a"]).any()
    expected = model_hessian(network.model, LOSS, data.X, data.y).values["a"]
    np.testing.assert_allclose(curvature_of(statistics, network, data)["a"], expected, rtol=1e-5)


def test_a_rough_ranking_is_not_kept(case):
    network, loss, data = case
    statistics = RankingStatistics(loss, ["hessians"], {}, 100)
    rough = curvature_of(statistics, network, data, part=0.5)
    assert statistics.description == ""
    assert (curvature_of(statistics, network, data)["a"] == rough["a"]).all()
    assert statistics.description.startswith("gauss-newton: a, b")


def test_only_layers_that_are_asked_for_are_differentiated_in(case):
    network, loss, data = case
    statistics = RankingStatistics(loss, ["gradients", "hessians"], {}, None)
    found = statistics.compute(network, ["b"], data)
    assert {kind: set(each) for kind, each in found.items()} == {
        "gradients": {"b"},
        "hessians": {"b"},
    }
    assert statistics.compute(network, ["a"], data)["hessians"].keys() == {"a"}
    assert RankingStatistics(loss, [], {}, None).compute(network, ["a"], data) == {}
