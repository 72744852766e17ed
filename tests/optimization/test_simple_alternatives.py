"""Results beside what is simpler to do, each counted and evaluated as the result is."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError
from fabricfit.reporting.alternatives import SimpleAlternatives
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 8)).astype("float32")
    return X, (X[:, :3] + 0.3 * rng.normal(size=(400, 3))).argmax(axis=1)


@pytest.fixture(scope="module")
def result(data, tmp_path_factory):
    pytest.importorskip("hls4ml")
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((8,)),
        keras.layers.Dense(24, activation="relu", name="fc1"),
        keras.layers.Dense(3, activation="softmax", name="out"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fabricfit.fit(
        model, data, data, {"dsp": "40%"}, hls_config=CONFIG, epochs=2, batch_size=64,
        directory=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def compared(result):
    return result.compare()


def test_both_are_within_the_budget_and_evaluated_like_the_result(result, compared):
    own, pruned, reused = compared.designs
    (limit,) = result.report.budget
    assert own.metric == pytest.approx(result.report.metric_after, abs=1e-6)
    assert own.resources == result.report.resources_after and own.error == 0
    for each in (pruned, reused):
        assert 0 < each.resources[0] <= limit and each.outcome in ("fits", "may fit")
        assert 0 < each.metric <= 1 and 0 <= each.error < 0.1
    assert "epochs of training" in pruned.built and pruned.epochs == 1
    assert reused.epochs == 0 and reused.latency_ns > own.latency_ns


def test_the_reuse_factor_is_the_smallest_that_fits(result, compared):
    factor = int(compared.designs[2].built.split("factor ")[1].split()[0].rstrip(","))
    smaller = {"Model": {**CONFIG["Model"], "Strategy": "Resource", "ReuseFactor": factor // 2}}
    found = fabricfit.estimate(result.model, smaller)
    assert found.resources["dsp"].value > result.report.budget[0]


def test_a_comparison_is_kept_for_the_page(result, compared):
    from fabricfit.reporting import read_run

    kept = read_run(result.directory).simple
    assert str(kept) == str(compared) and "a larger reuse factor" in str(kept)
    broken = compared.to_dict()
    broken["designs"][0]["resources"].append(1.0)
    with pytest.raises(ValueError, match="a number for each"):
        SimpleAlternatives.from_dict(broken)


def test_what_did_not_come_from_fit_cannot_be_compared(result):
    import dataclasses

    with pytest.raises(InvalidInputError, match=r"only what fabricfit\.fit returned"):
        dataclasses.replace(result, simple=None).compare()
