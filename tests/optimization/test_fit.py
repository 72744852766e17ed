"""Fitting to a budget, from the model that comes in to the one that goes out."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InfeasibleError, InvalidTypeError
from fabricfit.hardware.adder_graphs import adder_graph_lut
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.fpga_luts import AdderGraphResources, BitOperations
from fabricfit.scheduler import PolynomialScheduler
from tests.common import L, blobs, kernel_of, lenet, mlp, outputs_of, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def config(strategy="Resource", reuse_factor=2, precision="fixed<16,6>", io_type="io_parallel"):
    model = {"Precision": precision, "ReuseFactor": reuse_factor, "Strategy": strategy}
    return {"Model": model, "IOType": io_type}


def settings(tmp_path, **changes):
    given = {
        "batch_size": 32,
        "epochs": 3,
        "optimizer": "adam",
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "tuner": None,
        "regularization_range": [1e-6],
        "directory": str(tmp_path / "runs"),
    }
    return fabricfit.OptimizationSettings(**{**given, **changes})


@pytest.fixture(scope="module")
def data():
    X, y = blobs(384)
    return (X[:256], y[:256]), (X[256:], y[256:])


@pytest.fixture(scope="module")
def trained(data):
    model = mlp(hidden=16)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data[0], epochs=25, verbose=0)
    return model


@pytest.mark.parametrize(
    ("hls_config", "budget"),
    [
        (config("Latency", 1), Budget(dsp=40)),
        (config("Latency", 1), Budget(dsp=60, lut=6000)),
        (config("Resource", 2), Budget(dsp=80)),
        pytest.param(
            config("Resource", 3), Budget.relative(dsp=0.4, lut=0.6), marks=pytest.mark.slow
        ),
        pytest.param(
            config("Latency", 1, "fixed<8,3>"),
            Budget.relative(dsp=0.3, lut=0.7),
            marks=pytest.mark.slow,
        ),
        (config("distributed_arithmetic", 1, "fixed<10,4>"), Budget.relative(lut=0.4)),
    ],
)
def test_the_model_that_comes_back_is_within_the_budget(
    trained, data, tmp_path, hls_config, budget
):
    before = weights_of(trained)
    result = fabricfit.fit(trained, *data, budget, settings(tmp_path), hls_config=hls_config)
    report = result.report
    assert report.fits
    limits = dict(zip(report.units, report.budget, strict=True))
    after = dict(zip(report.units, report.resources_after, strict=True))
    assert all(after[unit] <= limits[unit] for unit in limits)
    assert report.resources_before[0] > report.budget[0]
    for old, new in zip(before, weights_of(trained), strict=True):
        np.testing.assert_array_equal(old, new)
    # The estimate of the returned model, as anybody can ask for it, says the same.
    found = fabricfit.estimate(result.model, result.hls_config, budget=Budget(dsp=1e6))
    for name in budget.resources:
        assert found.resources[name].value == pytest.approx(after[name.upper()])
    assert report.metric_after > report.metric_before - 0.1


def test_weights_come_back_on_the_grid(trained, data, tmp_path):
    result = fabricfit.fit(
        trained,
        *data,
        Budget(dsp=90),
        settings(tmp_path),
        hls_config=config(precision="fixed<10,4>"),
    )
    for name in ("fc1", "fc2", "out"):
        scaled = kernel_of(result.model, name) * 2.0**6
        np.testing.assert_array_equal(scaled, np.round(scaled))


def test_the_configuration_realizes_the_savings(trained, data, tmp_path):
    result = fabricfit.fit(trained, *data, Budget(dsp=90), settings(tmp_path), hls_config=config())
    for name in ("fc1", "fc2", "out"):
        section = result.hls_config["LayerName"][name]
        assert section["Strategy"].lower().replace("_", "") == "resourceunrolled"
        assert section["ReuseFactor"] == 2


def test_a_model_that_fits_comes_back_as_it_is(trained, data, tmp_path):
    result = fabricfit.fit(
        trained, *data, Budget(dsp=10_000), settings(tmp_path), hls_config=config()
    )
    assert result.history == ()
    assert result.report.fits
    np.testing.assert_allclose(
        outputs_of(result.model, data[0][0]), outputs_of(trained, data[0][0]), atol=0.02
    )


def test_convolutions_in_a_stream_are_fitted(data, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(96, 8, 8, 1)).astype("float32")
    labels = (images.mean(axis=(1, 2, 3)) > 0).astype("int32")
    pair = (images[:64], labels[:64]), (images[64:], labels[64:])
    hls_config = config(reuse_factor=3, io_type="io_stream")
    model = lenet()
    start = fabricfit.estimate(model, hls_config).resources["dsp"].value
    result = fabricfit.fit(
        model, *pair, Budget(dsp=start // 2), settings(tmp_path, epochs=2), hls_config=hls_config
    )
    assert result.report.fits
    conv = next(layer for layer in result.report.layers if layer.name == "conv2")
    assert conv.resources_after[0] < conv.resources_before[0]


def test_batch_normalizations_are_folded_first(data, tmp_path):
    """So that the weights that are chosen and counted are those that hardware has."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(12, use_bias=False, name="fc"),
            L.BatchNormalization(name="norm"),
            L.ReLU(name="relu"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data[0], epochs=15, verbose=0)
    names = [layer.name for layer in model.layers]
    result = fabricfit.fit(
        model, *data, Budget(dsp=30), settings(tmp_path), hls_config=config("Latency", 1)
    )
    assert result.report.fits
    assert [layer.name for layer in result.model.layers] == ["fc", "relu", "out"]
    assert [layer.name for layer in model.layers] == names
    scaled = kernel_of(result.model, "fc") * 2.0**10
    np.testing.assert_array_equal(scaled, np.round(scaled))
    counted = fabricfit.estimate(result.model, result.hls_config).resources["dsp"].value
    assert counted == result.report.resources_after[0] <= 30


def test_groups_of_unlike_sizes_are_ranked_by_their_loss(data, tmp_path, monkeypatch):
    """Without a ranking metric of one's own, a budget goes by saliency, a sparsity by l1."""
    from fabricfit.optimization import levels

    asked = []
    real = levels.get_criterion
    monkeypatch.setattr(levels, "get_criterion", lambda name: asked.append(name) or real(name))
    model = mlp(hidden=12)
    fabricfit.fit(model, *data, Budget.relative(dsp=0.7), settings(tmp_path), hls_config=config())
    assert set(asked) == {"saliency"}
    asked.clear()
    fabricfit.fit(
        model,
        *data,
        Budget.relative(dsp=0.7),
        settings(tmp_path, ranking_metric="l2"),
        hls_config=config(),
    )
    assert set(asked) == {"l2"}


def test_an_impossible_budget_is_refused_before_anything_is_done(
    trained, data, tmp_path, monkeypatch
):
    from fabricfit.optimization import run as running

    for name in ("tune", "train"):
        monkeypatch.setattr(running, name, lambda *_, **__: pytest.fail("it was trained"))
    with pytest.raises(InfeasibleError) as caught:
        fabricfit.fit(trained, *data, Budget(dsp=3), settings(tmp_path), hls_config=config())
    message = str(caught.value)
    assert "DSP: 3 are allowed" in message
    assert "at least 6 remain" in message  # a multiplier in each of three layers, and the softmax
    assert "'out'" in message
    assert not (tmp_path / "runs").exists()


def test_a_layer_that_cannot_be_pruned_is_named(data, tmp_path):
    model = mlp(hidden=16)
    model.get_layer("fc2").trainable = False
    with pytest.raises(InfeasibleError, match=r"'fc2' 128 \(not optimized: it is frozen"):
        fabricfit.fit(model, *data, Budget(dsp=100), settings(tmp_path), hls_config=config())


def test_a_tolerance_stops_on_the_way(trained, data, tmp_path):
    result = fabricfit.fit(
        trained,
        *data,
        Budget(dsp=3),
        settings(tmp_path, rtol=1.5, cutoff_bad_trials=0),
        hls_config=config("Latency", 1),
    )
    assert not result.report.fits
    assert "does not fit" in str(result.report)


def test_a_level_that_cannot_be_kept_is_not_accepted(trained, data, tmp_path, monkeypatch):
    """Trained weights that go on taking more than was foreseen, however much is spared."""
    from fabricfit.selection.choice_targets import BudgetTarget

    monkeypatch.setattr(BudgetTarget, "excess", lambda *_: np.array([2.0]))
    result = fabricfit.fit(
        trained,
        *data,
        Budget(dsp=60),
        settings(tmp_path, epochs=2),
        hls_config=config("Latency", 1),
    )
    assert not any(level.accepted for level in result.history)
    assert "2 DSP more than the level allows" in result.history[0].note
    assert not result.report.fits


def test_several_resources_are_kept_at_every_level(trained, data, tmp_path):
    result = fabricfit.fit(
        trained,
        *data,
        Budget(dsp=60, lut=7000),
        settings(tmp_path),
        hls_config=config("Latency", 1),
        scheduler=PolynomialScheduler(3, final_sparsity=1.0),
    )
    start, limit = np.array(result.report.resources_before), np.array(result.report.budget)
    for level in result.history:
        allowed = limit + (1 - level.sparsity) * np.maximum(start - limit, 0)
        assert (np.array(level.utilization) <= allowed + 1e-6).all()


def test_the_objective_serves_a_sparsity_as_well(trained, data, tmp_path):
    attributes = fabricfit.get_attributes_from_keras_model_and_hls4ml_config(
        trained, config("Latency", 1)
    )
    result = fabricfit.optimize(
        trained,
        attributes,
        FPGAResources(["dsp"]),
        PolynomialScheduler(2, final_sparsity=0.8),
        *data,
        settings(tmp_path),
    )
    report = result.report
    assert report.sparsity == 0.8
    assert report.resources_after[0] <= 0.2 * report.resources_before[0]


def test_luts_of_adder_graphs_can_be_budgeted(trained, data, tmp_path):
    pytest.importorskip("alkaid")
    hls_config = config("distributed_arithmetic", 1, "fixed<10,4>")
    result = fabricfit.fit(
        trained,
        *data,
        Budget.relative(lut=0.5),
        settings(tmp_path),
        hls_config=hls_config,
        objective=AdderGraphResources,
    )
    assert result.report.fits
    assert result.report.metric_after > 0.8
    counted = sum(
        adder_graph_lut(np.round(kernel_of(result.model, name) * 2**6).astype(int), 10)
        for name in ("fc1", "fc2", "out")
    )
    out = result.report.layers[-1]
    softmax = out.resources_after[0] - adder_graph_lut(
        np.round(kernel_of(result.model, "out") * 2**6).astype(int), 10
    )
    activations = result.report.resources_after[0] - counted
    assert 0 < softmax <= activations < 1000
    assert counted < 0.5 * result.report.resources_before[0]
    with pytest.raises(InvalidTypeError, match="objective must be a subclass"):
        fabricfit.fit(
            trained,
            *data,
            Budget(lut=9),
            settings(tmp_path),
            hls_config=hls_config,
            objective=BitOperations,
        )


def test_a_budget_must_be_one(trained, data, tmp_path):
    with pytest.raises(InvalidTypeError, match="Budget"):
        fabricfit.fit(trained, *data, 220, settings(tmp_path), hls_config=config())


def test_an_estimate_prints_compares_and_becomes_data(trained):
    found = fabricfit.estimate(trained, config(), budget=Budget(dsp=100, lut=100_000))
    text = str(found)
    assert "fc1 (Dense)" in text
    assert "DSP" in text
    assert not found.fits
    plain = found.to_dict()
    assert plain["total"]["dsp"]["value"] == found.resources["dsp"].value
    assert len(plain["layers"]) == 3
    frame = found.to_frame()
    assert frame["dsp"].sum() == found.resources["dsp"].value
    assert (frame["lut_low"] <= frame["lut"]).all()
    assert (frame["lut"] <= frame["lut_high"]).all()


def test_an_estimate_needs_no_configuration():
    found = fabricfit.estimate(keras.Sequential([keras.Input((4,)), L.Dense(2, name="fc")]))
    assert found.layers[0].strategy == "latency"
    budget = Budget(dsp=1)
    compared = fabricfit.estimate(keras.Sequential([keras.Input((4,)), L.Dense(2)]), budget)
    assert compared.budget is budget
    assert found.resources["dsp"].value <= 8


def test_layers_of_several_kernels_are_counted_with_doubt():
    """fabricfit does not know all layers; an estimate must not say that others take nothing."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 3, 4)),
            L.ConvLSTM1D(3, 2, name="both"),
            L.Flatten(),
            L.Dense(2, name="out"),
        ]
    )
    found = fabricfit.estimate(model, config("Resource", 1))
    assert [layer.name for layer in found.layers][-1] == "out"
    recurrent = [layer for layer in found.layers if layer.name.startswith("both/")]
    assert sorted(layer.weights for layer in recurrent) == [72, 96]
    dsp = sum(layer.resources["dsp"].value for layer in recurrent)
    assert 0.6 * 168 < dsp <= 168
    assert found.resources["dsp"].high >= 1.9 * dsp
    assert any("layers of no known family" in note for note in found.resources.notes)
    assert recurrent[0].interval.low == 0
    embedded = keras.Sequential([keras.Input((5,)), L.Embedding(8, 4, name="table")])
    assert fabricfit.estimate(embedded).resources["dsp"].value == 0


class Mixing(keras.layers.Layer):
    """A layer of somebody's own, which may have a converter of its own, too."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 4), initializer="glorot_uniform")

    def call(self, x):
        return keras.ops.tanh(keras.ops.matmul(x, self.matrix))


def test_a_budget_counts_layers_that_are_not_optimized(tmp_path):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(96, 5, 3, 4)).astype("float32"), rng.integers(0, 2, 96).astype("int32")
    pair = (X[:64], y[:64]), (X[64:], y[64:])
    model = keras.Sequential(
        [
            keras.Input((5, 3, 4)),
            L.Flatten(),
            Mixing(name="cells"),
            L.Dense(32, activation="relu", name="fc"),
            L.Dense(2, activation="softmax", name="out"),
        ]
    )
    before = fabricfit.estimate(model, config("Resource", 1)).resources["dsp"].value
    result = fabricfit.fit(
        model, *pair, Budget(dsp=before - 60), settings(tmp_path), hls_config=config("Resource", 1)
    )
    assert result.report.fits
    rows = {layer.name: layer for layer in result.report.layers}
    assert rows["cells"].resources_before == rows["cells"].resources_after
    assert rows["cells"].resources_before[0] > 40
    assert "not a supported layer type" in rows["cells"].skipped
    total = sum(layer.resources_after[0] for layer in result.report.layers)
    assert total == result.report.resources_after[0] <= before - 60
    with pytest.raises(InfeasibleError, match=r"'cells' \d+ \(not optimized: Mixing"):
        fabricfit.fit(
            model, *pair, Budget(dsp=30), settings(tmp_path), hls_config=config("Resource", 1)
        )
