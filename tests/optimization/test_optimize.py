"""The run: what it promises the caller, fault by fault."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes, grouping_of
from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.keras import OptimizationSettings, optimize, optimize_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.optimization.optimize import sparsity_target
from fabricfit.optimization.run import Run
from fabricfit.scheduler import ConstantScheduler, PolynomialScheduler
from tests.common import L, blobs, estimator, kernel_of, lenet, mlp, outputs_of, weights_of

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"


@pytest.fixture(scope="module")
def data():
    X, y = blobs(400)
    return (X[:300], y[:300]), (X[300:], y[300:])


@pytest.fixture(scope="module")
def trained(data):
    model = mlp(hidden=12)
    model.compile(keras.optimizers.Adam(0.02), LOSS, metrics=["accuracy"])
    model.fit(*data[0], epochs=8, batch_size=64, verbose=0)
    return model


def settings(tmp_path, **changes):
    options = {
        "batch_size": 64,
        "epochs": 4,
        "optimizer": keras.optimizers.Adam(0.01),
        "loss_fn": LOSS,
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": 0.7,
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


def test_the_result_is_pruned_plain_and_reported(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    report = result.report
    assert [level.accepted for level in report.levels] == [True, True]
    assert report.sparsity == 0.5
    kernels = [kernel_of(result.model, name) for name in ("fc1", "fc2", "out")]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    total = sum(kernel.size for kernel in kernels)
    assert zeros >= 0.5 * total
    assert report.resources_after == (total - zeros,) and report.resources_before == (total,)
    correct = outputs_of(result.model, data[1][0]).argmax(axis=1) == data[1][1]
    assert report.metric_after == pytest.approx(correct.mean())
    assert type(result.model) is keras.Sequential
    assert "fabricfit" not in json.dumps(result.model.get_config(), default=str)
    assert "total" in str(report) and json.dumps(report.to_dict())


def test_one_compilation_serves_the_search_and_all_levels(trained, data, tmp_path):
    chosen = settings(tmp_path, tuner="halving", trials=4, regularization_range=[1e-5, 1e-3, 1e-2])
    one = Run(
        trained, get_attributes_from_keras_model(trained), ParameterEstimator, sparsity_target(chosen),
        ConstantScheduler(0, 0.8, 0.2), data, chosen,
    )  # fmt: skip
    result = one.go()
    assert len(result.history) == 4 and len(result.report.trials) == 4
    shapes = 2  # of batches: whole ones, and what is left of 300 samples
    assert one.engine.compilations == (1 if keras.backend.backend() == "tensorflow" else shapes)


def test_nothing_of_the_callers_is_changed(trained, data, tmp_path):
    optimizer, loss = keras.optimizers.Adam(0.01), keras.losses.get(LOSS)
    metric = keras.metrics.SparseCategoricalAccuracy(name="mine")
    trained.compile(optimizer, LOSS)
    trained.fit(*data[0], verbose=0)  # a trained optimizer object used to crash the run
    attributes = get_attributes_from_keras_model(trained)
    scheduler = ConstantScheduler(0, 0.5, 0.25)
    before = (
        weights_of(trained),
        [np.array(keras.ops.convert_to_numpy(v)) for v in optimizer.variables],
        repr(attributes),
        dict(vars(scheduler)),
        [getattr(layer, "kernel_regularizer", None) for layer in trained.layers],
    )
    X, y = data[0][0].copy(), data[0][1].copy()
    optimize_model(
        trained, attributes, ParameterEstimator, scheduler, *data[0], *data[1], 64, 3,
        optimizer, loss, metric, True, 0.5, directory=str(tmp_path), tuner="Manual",
    )  # fmt: skip
    for old, new in zip(before[0], weights_of(trained), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before[1], optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    assert repr(attributes) == before[2]
    assert vars(scheduler) == before[3]
    assert [getattr(each, "kernel_regularizer", None) for each in trained.layers] == before[4]
    assert trained.optimizer is optimizer
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(metric.result()), 0)
    np.testing.assert_array_equal(data[0][0], X)
    np.testing.assert_array_equal(data[0][1], y)


def test_the_same_seed_gives_the_same_result(data, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(12, activation="relu"), L.Dropout(0.3), L.Dense(3, "softmax")]
    )
    results = []
    for number, seed in enumerate((0, 0, 1)):
        keras.utils.set_random_seed(number)
        results.append(run(model, data, tmp_path, rtol=0.1, seed=seed).model)
    for a, b in zip(weights_of(results[0]), weights_of(results[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(weights_of(results[0]), weights_of(results[2]), strict=True)
    )


def test_the_tuners_are_seeded_too(trained, data, tmp_path):
    strengths = [1e-6, 1e-4, 1e-2]
    for tuner in ("Bayesian", "Hyperband"):
        first, second = (
            run(trained, data, tmp_path, tuner=tuner, regularization_range=strengths, epochs=2)
            for _ in range(2)
        )
        for a, b in zip(weights_of(first.model), weights_of(second.model), strict=True):
            np.testing.assert_array_equal(a, b)


class Watched(Run):
    """A run that writes down the weights with which every level starts, and can spoil levels."""

    def __init__(self, *arguments, spoil=()):
        super().__init__(*arguments)
        self.spoil = set(spoil)
        self.starts = []

    def _try_level(self, sparsity):
        engine = self.engine
        self.starts.append(engine.get_weights())
        level = super()._try_level(sparsity)
        if len(self.starts) in self.spoil:  # as if it had gone wrong
            engine.set_weights([np.full_like(w, 7) for w in engine.get_weights()])
            level = type(level)(sparsity, False, 0.0, level.utilization, level.epochs, 0.0)
        return level


def watched(model, data, tmp_path, spoil, **changes):
    scheduler = changes.pop("scheduler", ConstantScheduler(0, 0.8, 0.2))
    attributes = get_attributes_from_keras_model(model)
    chosen = settings(tmp_path, **changes)
    target = sparsity_target(chosen)
    arguments = (model, attributes, ParameterEstimator, target, scheduler, data, chosen)
    return Watched(*arguments, spoil=spoil)


def test_after_a_bad_level_the_run_goes_on_from_the_last_good_weights(trained, data, tmp_path):
    job = watched(trained, data, tmp_path, spoil=[2])
    result = job.go()
    assert [level.accepted for level in job.levels] == [True, False, True, True]
    for good, again in zip(job.starts[1], job.starts[2], strict=True):
        np.testing.assert_array_equal(good, again)
    assert result.report.sparsity == 0.8


def test_the_run_ends_after_too_many_bad_levels_in_a_row(trained, data, tmp_path):
    job = watched(trained, data, tmp_path, spoil=[2, 3, 4], cutoff_bad_trials=1)
    assert job.go().report.sparsity == pytest.approx(0.2)
    assert [level.accepted for level in job.levels] == [True, False, False]
    job = watched(trained, data, tmp_path, spoil=[1, 3], cutoff_bad_trials=1)
    assert len(job.go().history) == 4  # not in a row


def test_the_best_level_is_returned_not_the_last(trained, data, tmp_path):
    job = watched(trained, data, tmp_path, spoil=[3, 4])
    result = job.go()
    zeros = sum((kernel_of(result.model, n) == 0).sum() for n in ("fc1", "fc2", "out"))
    total = sum(kernel_of(result.model, n).size for n in ("fc1", "fc2", "out"))
    assert result.report.sparsity == pytest.approx(0.4)
    assert 0.4 <= zeros / total < 0.6
    assert not any((w == 7).all() for w in weights_of(result.model))


def test_nothing_is_trained_for_nothing(trained, data, tmp_path):
    class Count(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            Count.epochs += 1

    options = {"epochs": 4, "rewinding_epochs": 1, "callbacks": [Count()]}
    run(trained, data, tmp_path, patience=None, **options)
    # Two levels of three masked epochs, one rewinding between them: none at sparsity 0, none after.
    assert Count.epochs == 3 + 1 + 3
    Count.epochs = 0
    result = run(trained, data, tmp_path, **options)
    first, second = result.history
    # On the way, a level ends when it is as good as the model was.
    assert first.epochs < 3 or first.metric < result.report.metric_before
    assert Count.epochs == first.epochs + 1 + second.epochs


def test_a_target_that_fails_says_so_and_returns_the_input(trained, data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(trained, data, tmp_path, rtol=5.0)
    assert "no sparsity level kept accuracy" in caplog.text
    assert result.report.sparsity == 0
    for old, new in zip(weights_of(trained), weights_of(result.model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert result.model is not trained


def test_a_sparsity_out_of_reach_is_a_bad_level_that_costs_no_training(
    trained, data, tmp_path, caplog
):
    scheduler = ConstantScheduler(0.5, 1.0, 0.5)
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(trained, data, tmp_path, scheduler=scheduler)
    assert "sparsity 1 cannot be reached" in caplog.text
    good, unreachable = result.history
    assert good.accepted and not unreachable.accepted and unreachable.epochs == 0
    assert "minimum_groups" in unreachable.note and result.report.sparsity == 0.5


def test_training_that_diverges_goes_back_to_the_last_good_weights(trained, data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(
            trained, data, tmp_path, optimizer=keras.optimizers.SGD(1e30), cutoff_bad_trials=0
        )
    assert "going back to the last good weights" in caplog.text
    assert all(np.isfinite(w).all() for w in weights_of(result.model))
    assert result.report.metric_after == pytest.approx(result.report.metric_before)


def test_a_metric_that_decreases_is_judged_the_other_way(trained, data, tmp_path):
    result = run(
        trained,
        data,
        tmp_path,
        validation_metric=keras.metrics.SparseCategoricalCrossentropy(name="loss_like"),
        increasing=False,
        rtol=50.0,
    )
    assert result.report.sparsity == 0.5
    assert result.report.metric_after <= 50 * result.report.metric_before
    assert run(
        trained,
        data,
        tmp_path,
        validation_metric=keras.metrics.SparseCategoricalCrossentropy(),
        increasing=False,
        rtol=1e-6,
    ).report.sparsity == 0  # fmt: skip


@pytest.mark.parametrize("tuner", [None, "Bayesian"])
def test_metrics_of_any_kind_and_name_serve(tmp_path, tuner):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)).astype("float32")
    y = (X[:, :1] > 0).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(1, activation="sigmoid")]
    )
    result = optimize(
        model,
        get_attributes_from_keras_model(model),
        ParameterEstimator(),  # an instance serves like the class
        ConstantScheduler(0, 0.3, 0.3),
        (X, y),
        (X, y),
        settings(
            tmp_path,
            loss_fn=keras.losses.BinaryCrossentropy(),
            validation_metric=keras.metrics.AUC(name="area under"),
            tuner=tuner,
            rtol=0.5,
            epochs=3,
        ),
    )
    assert result.report.metric_name == "area under" and result.report.sparsity == 0.3


def test_regularizers_of_the_caller_stay(data, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(0.003)),
            L.Dense(3, activation="softmax"),
        ]
    )
    result = run(model, data, tmp_path, rtol=0.1)
    assert result.report.sparsity > 0
    kept = result.model.layers[0].kernel_regularizer
    assert isinstance(kept, keras.regularizers.L2) and float(kept.l2) == pytest.approx(0.003)
    assert result.model.layers[0].kernel.regularizer is kept
    assert result.model.layers[1].kernel_regularizer is None


class Scale(keras.layers.Layer):
    """A custom layer with a weight."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.factor


class MyDense(keras.layers.Dense):
    """Somebody's own Dense."""


def test_layers_that_cannot_be_optimized_are_skipped_with_the_reason(data, tmp_path):
    keras.utils.set_random_seed(0)
    frozen = L.Dense(6, name="frozen", trainable=False)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            frozen,
            L.BatchNormalization(name="norm"),
            Scale(name="scale"),
            MyDense(6, name="own"),
            L.Dense(8, activation="relu", name="fc"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    before = {name: kernel_of(model, name) for name in ("frozen", "own")}
    result = run(
        model, data, tmp_path, estimator("structured"), ConstantScheduler(0, 0.2, 0.2), rtol=0.1
    )
    skipped = result.report.skipped
    assert "frozen" in skipped["frozen"]
    assert "MyDense" in skipped["own"] and "register_layer" in skipped["own"]
    assert "outputs of the model" in skipped["out"]
    assert set(skipped) == {"frozen", "own", "out"}
    np.testing.assert_array_equal(kernel_of(result.model, "frozen"), before["frozen"])
    assert (kernel_of(result.model, "own") != 0).all()
    assert isinstance(result.model.get_layer("scale"), Scale)


def test_filters_of_a_transposed_convolution_are_its_last_axis_but_one(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            L.Conv2DTranspose(3, 2, name="up"),
            L.Conv2D(3, 2, name="conv"),
            L.Flatten(),
            L.Dense(2, name="dense"),
        ]
    )
    X = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")
    y = np.zeros((32, 2), "float32")
    result = run(
        model,
        ((X, y), (X, y)),
        tmp_path,
        loss_fn="mse",
        validation_metric="mse",
        increasing=False,
        rtol=1e9,
        objective=GPUFLOPEstimator,
        scheduler=ConstantScheduler(0, 0.3, 0.3),
    )
    assert list(result.report.skipped) == ["dense"]
    up, conv = kernel_of(result.model, "up").shape, kernel_of(result.model, "conv").shape
    assert up[-2] == conv[-2] < 3 or conv[-1] < 3
    assert up[-1] == 2


def test_convolutions_are_optimized(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 8, 8, 1)).astype("float32"), rng.integers(0, 4, 64)
    for structure in ("unstructured", "structured", "pattern", "block"):
        result = run(lenet(), ((X, y), (X, y)), tmp_path, estimator(structure), rtol=0.01, epochs=2)
        assert result.report.sparsity == 0.5
        assert (kernel_of(result.model, "conv2") == 0).any()


def test_removed_units_are_really_removed_for_flops(trained, data, tmp_path):
    result = run(trained, data, tmp_path, GPUFLOPEstimator, rtol=0.5)
    assert result.report.sparsity == 0.5
    widths = [kernel_of(result.model, name).shape for name in ("fc1", "fc2", "out")]
    flops = sum(2 * n_in * n_out + n_out for n_in, n_out in widths)
    original = sum(2 * a * b + b for a, b in ((6, 12), (12, 12), (12, 3)))
    assert flops <= 0.5 * original
    assert result.report.resources_after == (flops,)
    assert widths[0][0] == 6 and widths[2][1] == 3
    correct = outputs_of(result.model, data[1][0]).argmax(axis=1) == data[1][1]
    assert result.report.metric_after == pytest.approx(correct.mean())


def test_flops_that_cannot_be_removed_are_not_claimed(tmp_path, caplog):
    # Behind a sigmoid a zero filter is a constant that is not zero, which a padded convolution does not
    # let be folded: it is not pruned in the first place, and the report says so.
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(8, 3, activation="sigmoid", name="first"),
            L.Conv2D(4, 3, padding="same", name="second"),
            L.GlobalAveragePooling2D(),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 64)
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(
            model,
            ((X, y), (X, y)),
            tmp_path,
            GPUFLOPEstimator,
            ConstantScheduler(0, 0.4, 0.4),
            rtol=0.01,
        )
    described = get_attributes_from_keras_model(result.model)
    assert result.report.resources_after == tuple(GPUFLOPEstimator.model_utilization(described, {}))
    assert result.report.resources_after[0] <= 0.6 * result.report.resources_before[0]
    assert "'second' pads its input with zeros" in result.report.skipped["first"]
    assert not caplog.text


def test_nested_models_are_optimized_too(data, tmp_path):
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [keras.Input((6,)), L.Dense(10, activation="relu", name="d")], name="block"
    )
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(3, activation="softmax", name="out")(block(inputs)))
    result = run(model, data, tmp_path, rtol=0.1)
    assert (kernel_of(result.model.get_layer("block"), "d") == 0).sum() > 0
    assert [layer.name for layer in result.report.layers] == ["d", "out"]


def test_nothing_is_printed_and_nothing_is_written_elsewhere(
    trained, data, tmp_path, capfd, monkeypatch
):
    here, home, there = (tmp_path / name for name in ("here", "home", "there"))
    here.mkdir(), home.mkdir()
    monkeypatch.chdir(here)
    for variable in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(home))
    capfd.readouterr()
    run(trained, data, there, tuner="Bayesian", epochs=2, regularization_range=[1e-4, 1e-3])
    out, err = capfd.readouterr()
    assert out == "" and err == ""
    assert list(here.iterdir()) == [] and list(home.iterdir()) == []
    assert (there / "run-0001" / "best.weights.h5").is_file()
    assert not [path for path in there.rglob("*") if path.name.startswith(".")]


def test_a_second_run_overwrites_nothing(trained, data, tmp_path):
    first = run(trained, data, tmp_path)
    files = {p: p.read_bytes() for p in first.directory.rglob("*") if p.is_file()}
    second = run(trained, data, tmp_path, seed=1)
    assert second.directory != first.directory
    assert all(path.read_bytes() == content for path, content in files.items())
    assert {"best.weights.h5", "levels.json", "report.json"} <= {p.name for p in files}


def test_the_default_directory_is_not_the_working_directory(trained, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr("fabricfit.optimization.run.TMP_DIRECTORY", str(cache))
    result = run(trained, data, "hls4ml-optimization-keras")
    assert result.directory == cache / "hls4ml-optimization-keras" / "run-0001"
    assert list(tmp_path.iterdir()) == [cache]


def test_progress_is_shown_when_asked_and_the_logger_left_alone(trained, data, tmp_path, capfd):
    logger = logging.getLogger("fabricfit")
    before = (list(logger.handlers), logger.level)
    run(trained, data, tmp_path, verbose=True)
    assert "sparsity 0.25" in capfd.readouterr().err
    assert (list(logger.handlers), logger.level) == before


def test_what_is_paid_for_survives_an_exception(trained, data, tmp_path):
    class Bomb(keras.callbacks.Callback):
        begun = 0

        def on_train_begin(self, logs=None):
            Bomb.begun += 1
            if Bomb.begun == 2:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(trained, data, tmp_path, callbacks=[Bomb()], rewinding_epochs=1)
    model = mlp(hidden=12)
    model.load_weights(tmp_path / "run-0001" / "best.weights.h5")
    assert (kernel_of(model, "fc1") == 0).any()


def test_the_result_loads_where_fabricfit_is_not_installed(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    result.model.save(tmp_path / "result.keras")
    np.save(tmp_path / "X.npy", data[1][0])
    script = f"""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "fabricfit":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Nowhere())
        import keras, numpy as np
        model = keras.models.load_model({str(tmp_path / "result.keras")!r})
        X = np.load({str(tmp_path / "X.npy")!r})
        np.save({str(tmp_path / "out.npy")!r}, keras.ops.convert_to_numpy(model(X)))
        assert model.optimizer is not None and "fabricfit" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path)
    expected = outputs_of(result.model, data[1][0])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


NAN = np.full((20, 6), np.nan, "float32")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rtol": -1}, "rtol must be above 0"),
        ({"epochs": 1}, "epochs must be more than rewinding_epochs"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"cutoff_bad_trials": -1}, "cutoff_bad_trials"),
        ({"ranking_metric": "magnitude"}, "ranking_metric must be one of 'l1'"),
        ({"knapsack_solver": "magic"}, "knapsack_solver must be one of"),
        ({"knapsack_options": {"time": 3}}, "time_limit, scaling_factor. Received: time"),
        ({"knapsack_options": {"time_limit": 0}}, "time_limit must be a positive number"),
        ({"tuner": "Random"}, "tuner must be one of 'halving', 'Bayesian'"),
        ({"regularization_range": []}, "regularization_range"),
        ({"regularization_range": [-1e-3]}, "regularization_range"),
        ({"optimizer": "adamant"}, "optimizer must be one that Keras knows"),
        ({"loss_fn": "lossless"}, "loss_fn must be a loss that Keras knows"),
        ({"validation_metric": "metre"}, "validation_metric must be one that Keras knows"),
        ({"callbacks": [print]}, "callbacks must hold"),
        ({"data": ((NAN, np.zeros(20)), (NAN, np.zeros(20)))}, "X_train must not hold NaN"),
        ({"objective": "DSP"}, "objective must be an ObjectiveEstimator"),
        ({"scheduler": "constant"}, "scheduler must be an OptimizationScheduler"),
        ({"model": "model"}, "model must be a keras.Model"),
        ({"model": keras.Sequential([L.Dense(3)])}, "is not built"),
        ({"attributes": {}}, "model_attributes lack layers"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(trained, data, tmp_path, change, message):
    model = change.pop("model", trained)
    attributes = change.pop("attributes", get_attributes_from_keras_model(trained))
    objective = change.pop("objective", ParameterEstimator)
    scheduler = change.pop("scheduler", ConstantScheduler(0, 0.5, 0.25))
    data = change.pop("data", data)
    with pytest.raises(FabricFitError, match=message):
        optimize(model, attributes, objective, scheduler, *data, settings(tmp_path / "x", **change))
    assert not (tmp_path / "x").exists()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = L.Dense(3)

    def call(self, x):
        return self.layer(x)


def test_a_subclassed_model_whose_shapes_are_not_known_is_refused_with_the_way_out():
    with pytest.raises(InvalidInputError, match="Call it on a batch"):
        get_attributes_from_keras_model(Subclassed())


def test_an_uncompiled_model_serves(data, tmp_path):
    model = mlp()
    assert getattr(model, "optimizer", None) is None
    assert run(model, data, tmp_path, rtol=0.01).report.sparsity == 0.5


def test_a_model_with_nothing_to_optimize_is_refused_with_the_reasons(data, tmp_path):
    model = mlp()
    model.trainable = False
    with pytest.raises(InvalidInputError, match=r"no layer of model .* 'fc1': it is frozen"):
        run(model, data, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_costs_that_are_none_are_refused(trained, data, tmp_path):
    class Negative(ParameterEstimator):
        @classmethod
        def layer_savings(cls, layer_attributes):
            return [-1]

    with pytest.raises(InvalidInputError, match="non-negative whole numbers"):
        run(trained, data, tmp_path / "x", Negative)
    assert not (tmp_path / "x").exists()


def test_two_inputs_and_two_outputs_as_lists_are_not_taken_for_batches(tmp_path):
    keras.utils.set_random_seed(0)
    a, b = keras.Input((4,)), keras.Input((4,))
    trunk = L.Dense(8, activation="relu")(L.Concatenate()([a, b]))
    model = keras.Model([a, b], [L.Dense(4)(trunk), L.Dense(4)(trunk)])
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 64, 4)).astype("float32")
    X, y = [first, second], [first, second]
    result = optimize_model(
        model, get_attributes_from_keras_model(model), ParameterEstimator,
        ConstantScheduler(0, 0.3, 0.3), X, y, X, y, 32, 3, "adam", "mse", "mse", False, 100.0,
        directory=str(tmp_path), tuner=None, regularization_range=[1e-5],
    )  # fmt: skip
    assert len(result.inputs) == len(result.outputs) == 2


def test_a_model_whose_metric_is_no_number_is_refused(trained, data, tmp_path):
    def undefined(y_true, y_pred):
        return y_pred[:, 0] * float("nan")

    with pytest.raises(InvalidInputError, match="undefined on the validation data is nan"):
        run(trained, data, tmp_path / "x", validation_metric=undefined)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("tuner", [None, "Bayesian"])
def test_a_function_serves_as_metric_and_as_loss(trained, data, tmp_path, tuner):
    def confidence(y_true, y_pred):
        return keras.ops.max(y_pred, axis=-1)

    def surprise(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    result = run(
        trained,
        data,
        tmp_path,
        validation_metric=confidence,
        loss_fn=surprise,
        rtol=0.3,
        tuner=tuner,
        regularization_range=[1e-5, 1e-4],
    )
    assert result.report.metric_name == "confidence" and result.report.sparsity == 0.5
    expected = outputs_of(result.model, data[1][0]).max(axis=-1).mean()
    assert result.report.metric_after == pytest.approx(expected, rel=1e-4)


def test_a_directory_that_is_a_file_is_refused(trained, data, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="must name a folder"):
        run(trained, data, path)
    assert path.read_text() == "mine"


def test_errors_are_also_what_python_would_raise():
    with pytest.raises(ValueError):
        OptimizationSettings(0, 3, "adam", LOSS, "accuracy", True, 0.9)
    with pytest.raises(TypeError):
        OptimizationSettings(1, 3, 5, LOSS, "accuracy", True, 0.9)
    assert issubclass(InvalidTypeError, FabricFitError)


def test_sharing_saves_and_stays_shared(trained, data, tmp_path):
    result = run(
        trained,
        data,
        tmp_path,
        estimator("pattern", pruning=False, weight_sharing=True),
        PolynomialScheduler(2, 0, 0.5),
    )
    report = result.report
    assert report.sparsity == 0.5 and report.resources_after[0] <= 0.5 * report.resources_before[0]
    settings_ = OptimizationAttributes("pattern", weight_sharing=True, pattern_offset=36)

    groups = grouping_of((12, 12), settings_).to_groups(kernel_of(result.model, "fc2"))
    shared = np.ptp(groups, axis=1) == 0
    assert shared.any() and (groups[shared] != 0).any()


def test_files_of_a_run_are_in_its_folder(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    assert result.directory.parent == Path(tmp_path)
    levels = json.loads((result.directory / "levels.json").read_text())
    assert [level["sparsity"] for level in levels] == [0.25, 0.5]
    report = json.loads((result.directory / "report.json").read_text())
    assert report["sparsity"] == 0.5 and len(report["layers"]) == 3


def test_models_with_several_inputs_and_outputs_are_optimized(tmp_path):
    keras.utils.set_random_seed(0)
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    trunk = L.Dense(8, activation="relu", name="trunk")(L.Concatenate()([a, b]))
    model = keras.Model(
        {"a": a, "b": b}, [L.Dense(1, name="x")(trunk), L.Dense(1, name="y")(trunk)]
    )
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(64, 4)), "b": rng.normal(size=(64, 3))}
    X = {name: value.astype("float32") for name, value in X.items()}
    y = [X["a"][:, :1], X["b"][:, :1]]
    for metric in ("l1", "oracle", "saliency"):
        result = run(
            model,
            ((X, y), (X, y)),
            tmp_path,
            estimator("structured"),
            ConstantScheduler(0, 0.4, 0.4),
            loss_fn="mse",
            validation_metric="mse",
            increasing=False,
            rtol=100.0,
            ranking_metric=metric,
        )
        assert result.report.sparsity == 0.4
        assert set(result.report.skipped) == {"x", "y"}
