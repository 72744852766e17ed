"""Interrupted runs that are resumed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.curvature import Curvature
from fabricfit.errors import RunDirectoryError
from fabricfit.keras import OptimizationSettings
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.run import read_journal
from fabricfit.scheduler import ConstantScheduler, PolynomialScheduler
from tests.common import L, blobs, outputs_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def on_one_backend(test):
    for mark in ON_ONE_BACKEND:
        test = mark(test)
    return test


class StopError(Exception):
    """Stands for whatever ends a process."""


class Stop(keras.callbacks.Callback):
    """Ends the run after so many epochs of fine-tuning."""

    only_watches = True

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise StopError


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(24, activation="relu", name="fc1"),
            L.Dropout(0.1, name="dropout"),
            L.Dense(16, activation="relu", name="fc2"),
            L.Dense(3, activation="softmax", name="out"),
        ],
        name="tagger",
    )


@pytest.fixture(scope="module")
def data():
    return blobs(256, 8)


def settings(directory, **changes):
    return OptimizationSettings(
        **{
            "batch_size": 64,
            "epochs": 4,
            "optimizer": "adam",
            "loss_fn": "sparse_categorical_crossentropy",
            "validation_metric": "accuracy",
            "increasing": True,
            "rtol": 0.5,
            "directory": directory,
            "patience": None,
            "search": 4,
            "checkpoint_seconds": 0.0,
            **changes,
        }
    )


def run(data, options, scheduler=None, start=None, validation=None):
    net = start or model()
    return fabricfit.optimize(
        net,
        get_attributes_from_keras_model(net),
        ParameterEstimator,
        scheduler or PolynomialScheduler(4, final_sparsity=0.8),
        data,
        data if validation is None else validation,
        options,
    )


def same(first, second):
    for a, b in zip(first.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))
    assert first.report.metric_after == second.report.metric_after
    assert [x.metric for x in first.history] == [x.metric for x in second.history]


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    return run(data, settings(tmp_path_factory.mktemp("whole")))


def test_the_same_seed_gives_the_same_weights(data, unbroken, tmp_path):
    same(unbroken, run(data, settings(tmp_path)))


@pytest.mark.parametrize(
    "epochs", [4, *(pytest.param(n, marks=ON_ONE_BACKEND) for n in (0, 1, 7, 10))]
)
def test_a_resumed_run_ends_as_the_unbroken_one(data, unbroken, epochs, tmp_path):
    with pytest.raises(StopError):
        run(data, settings(tmp_path, callbacks=[Stop(epochs)]))
    result = run(data, settings(tmp_path, resume=True))
    same(unbroken, result)
    events = [record.event for record in read_journal(result.directory / "journal.jsonl")[0]]
    assert events.count("resumed") == 1 and events[-1] == "finished"
    # Epochs that were done before are not done again, but for the one that was interrupted.
    assert events.count("epoch") == sum(each.epochs for each in unbroken.history) + 3
    assert [path.name for path in tmp_path.iterdir()] == ["run-0001"]
    assert not list(result.directory.glob("stretch*"))


@on_one_backend
def test_derivatives_that_serve_on_do_so_in_a_resumed_run(data, tmp_path, monkeypatch):
    """They are computed anew where weights have moved by a tenth, at this rate not at each level."""
    computed, original = [], Curvature.hessians

    def counting(self, *args, **options):
        computed.append(1)
        return original(self, *args, **options)

    monkeypatch.setattr(Curvature, "hessians", counting)
    ranked = {
        "search": None,
        "ranking_metric": "saliency",
        "curvature_samples": 64,
        "optimizer": keras.optimizers.SGD(1e-6),
    }
    small_steps = ConstantScheduler(0, 0.05, 0.01)
    whole = run(data, settings(tmp_path / "whole", **ranked), small_steps)
    times = len(computed)
    assert times < len(whole.history)
    with pytest.raises(StopError):
        run(data, settings(tmp_path / "runs", callbacks=[Stop(9)], **ranked), small_steps)
    result = run(data, settings(tmp_path / "runs", resume=True, **ranked), small_steps)
    assert len(computed) == 2 * times
    same(whole, result)
    assert result.report.derivatives == whole.report.derivatives != ""


def test_a_finished_run_gives_its_result_again_without_training(data, unbroken, tmp_path):
    first = run(data, settings(tmp_path))
    again = run(data, settings(tmp_path, resume=True, callbacks=[Stop(-1)]))
    same(first, again)
    assert again.directory == first.directory


@on_one_backend
def test_a_folder_that_was_copied_elsewhere_is_resumed_there(data, unbroken, tmp_path):
    with pytest.raises(StopError):
        run(data, settings(tmp_path / "here", callbacks=[Stop(5)]))
    there = shutil.copytree(tmp_path / "here" / "run-0001", tmp_path / "there" / "mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "here" / "run-0001").iterdir()}
    result = run(data, settings(there, resume=True))
    same(unbroken, result)
    assert result.directory == there
    after = {path.name: path.read_bytes() for path in (tmp_path / "here" / "run-0001").iterdir()}
    assert after == before


@on_one_backend
def test_there_need_not_be_a_run_to_resume(data, unbroken, tmp_path):
    same(unbroken, run(data, settings(tmp_path, resume=True)))


def test_a_search_goes_on_after_its_last_rung(data, unbroken, tmp_path, monkeypatch):
    from fabricfit.tuning import successive_halving as halving

    evaluated, original = [], halving._evaluate_candidate

    def counting(engine, evaluate):
        evaluated.append(1)
        if len(evaluated) == 6:
            raise StopError
        return original(engine, evaluate)

    monkeypatch.setattr(halving, "_evaluate_candidate", counting)
    with pytest.raises(StopError):
        run(data, settings(tmp_path))
    evaluated[:] = [1] * 10
    result = run(data, settings(tmp_path, resume=True))
    same(unbroken, result)
    assert len(evaluated) < 10 + 4 + 2


@on_one_backend
@pytest.mark.parametrize(
    ("changes", "scheduler", "named"),
    [
        ({"seed": 1}, None, "'seed'"),
        ({"rtol": 0.6}, None, "'rtol'"),
        ({"optimizer": "sgd"}, None, "'optimizer'"),
        ({}, ConstantScheduler(0, 0.5, 0.25), "the levels"),
    ],
)
def test_another_configuration_is_refused(data, unbroken, changes, scheduler, named):
    before = {p.name: p.read_bytes() for p in unbroken.directory.iterdir()}
    with pytest.raises(RunDirectoryError, match=f"differs in: .*{named}"):
        run(data, settings(unbroken.directory, resume=True, **changes), scheduler)
    assert {p.name: p.read_bytes() for p in unbroken.directory.iterdir()} == before


@on_one_backend
def test_other_data_or_another_model_are_refused(data, unbroken):
    options = settings(unbroken.directory, resume=True)
    with pytest.raises(RunDirectoryError, match="the training data"):
        run((data[0] + 1, data[1]), options)
    other = model()
    other.get_layer("out").bias.assign([0.0, 0.1, 0.0])
    with pytest.raises(RunDirectoryError, match="the model"):
        run(data, options, start=other)


@on_one_backend
def test_runs_of_several_configurations_share_a_folder(data, unbroken, tmp_path):
    first = run(data, settings(tmp_path))
    other = run(data, settings(tmp_path, resume=True, rtol=0.6))
    assert first.directory.name == "run-0001" and other.directory.name == "run-0002"
    again = run(data, settings(tmp_path, resume=True))
    assert again.directory == first.directory
    same(first, again)


@on_one_backend
def test_the_manifest_tells_what_was_done_with_what(unbroken):
    manifest = json.loads((unbroken.directory / "manifest.json").read_text())
    assert manifest["settings"]["epochs"] == "4" and manifest["seed"] == 0
    assert manifest["environment"]["backend"] == keras.backend.backend()
    assert {"keras", "numpy"} <= set(manifest["environment"]["versions"])
    assert manifest["goal"]["objective"] == "ParameterEstimator"
    assert {"the model", "the training data", "the levels"} <= set(manifest["fingerprint"])


@on_one_backend
def test_results_of_resumed_runs_can_be_reused(data, unbroken, tmp_path):
    with pytest.raises(StopError):
        run(data, settings(tmp_path, callbacks=[Stop(5)]))
    options = settings(tmp_path, resume=True)
    first = run(data, options)
    further = fabricfit.optimize(
        model(),
        get_attributes_from_keras_model(model()),
        ParameterEstimator,
        ConstantScheduler(0.85, 0.85, 0.1),
        data,
        data,
        replace(options, resume=False),
        reuse=first,
    )
    assert further.report.sparsity == 0.85
    assert outputs_of(further.model, data[0]).shape == (256, 3)


@pytest.mark.parametrize(
    "trials",
    [pytest.param(4, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_runs_that_are_killed_at_any_moment_end_as_unbroken_ones(trials):
    """Also between write and rename, in the middle of a record, and with a full disk."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--trials", str(trials)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failures"], found
    assert found["interruptions"] >= trials // 2
