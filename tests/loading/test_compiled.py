"""What a model was compiled with is restored as far as a file says it."""

from __future__ import annotations

import json
import zipfile

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.optimization.compiled_settings import read_settings
from tests.common import L
from tests.loading.keras2_files import write_archive, write_h5
from tests.loading.models import build, check_same
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

ADAM = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.003, "decay": 0.0}}
ACCURACY = {
    "class_name": "MeanMetricWrapper",
    "config": {"name": "accuracy", "dtype": "float32", "fn": "sparse_categorical_accuracy"},
}
CROSSENTROPY = {
    "class_name": "SparseCategoricalCrossentropy",
    "config": {
        "reduction": "auto",
        "name": "loss",
        "from_logits": True,
        "fn": "sparse_categorical_crossentropy",
    },
}


def compiled_metrics(model):
    """Return the metrics of a model by name, once it has been evaluated."""
    X, y = np.zeros((4, 6), "float32"), np.zeros(4, "int32")
    return model.evaluate(X, y, verbose=0, return_dict=True)


def test_loss_metrics_and_optimizer_of_keras_2_are_restored(tmp_path):
    training = {
        "loss": CROSSENTROPY,
        "metrics": [[ACCURACY, "sparse_categorical_crossentropy"]],
        "weighted_metrics": [[{**ACCURACY, "config": {**ACCURACY["config"], "name": "weighted"}}]],
        "loss_weights": None,
        "sample_weight_mode": None,
        "optimizer_config": ADAM,
    }
    model = fabricfit.load_model(write_h5(tmp_path / "m.h5", build("dense"), training))
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    assert model.loss.get_config()["from_logits"] is True
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.003)
    assert set(compiled_metrics(model)) == {
        "loss", "accuracy", "sparse_categorical_crossentropy", "weighted",
    }  # fmt: skip


def test_a_run_takes_the_loss_and_the_metric_from_the_file(tmp_path):
    training = {"loss": CROSSENTROPY, "metrics": ["accuracy"], "optimizer_config": ADAM}
    model = fabricfit.load_model(write_archive(tmp_path / "m.keras", build("dense"), training))
    data = np.zeros((64, 6), "float32"), np.arange(64) % 3
    settings = read_settings(model, data, None, {}, trained=False)
    assert settings.loss_fn.get_config()["from_logits"] is True
    assert settings.validation_metric == "accuracy" and settings.increasing


@pytest.mark.parametrize(
    "optimizer, kind",
    [
        ({"class_name": "Custom>SGD", "config": {"lr": 0.5, "is_legacy_optimizer": False}}, "SGD"),
        ({"class_name": "RMSprop", "config": {"learning_rate": 0.5, "decay": 0.1}}, "RMSprop"),
        (
            {
                "class_name": "LossScaleOptimizer",
                "config": {
                    "inner_optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.5}}
                },
            },
            "SGD",
        ),
        (
            {
                "class_name": "Nadam",
                "config": {
                    "schedule_decay": 0.004,
                    "learning_rate": {
                        "class_name": "ExponentialDecay",
                        "config": {
                            "initial_learning_rate": 0.5,
                            "decay_steps": 9,
                            "decay_rate": 0.5,
                        },
                    },
                },
            },
            "Nadam",
        ),
    ],
)
def test_former_options_of_optimizers_are_understood(optimizer, kind, tmp_path):
    training = {"loss": "mse", "metrics": None, "loss_weights": None, "optimizer_config": optimizer}
    model = fabricfit.load_model(write_h5(tmp_path / "m.h5", build("dense"), training))
    assert type(model.optimizer).__name__ == kind
    assert float(model.optimizer.learning_rate) == pytest.approx(0.5)


def test_what_is_not_known_is_named_and_the_rest_restored(tmp_path):
    training = {
        "loss": "mse",
        "metrics": ["mae", "own_metric"],
        "optimizer_config": {"class_name": "Addons>LAMB", "config": {"learning_rate": 0.1}},
    }
    path = write_h5(tmp_path / "m.h5", build("dense"), training)
    with pytest.warns(UserWarning) as told:
        model = fabricfit.load_model(path)
    said = [str(each.message) for each in told if "compiled with" in str(each.message)]
    assert len(said) == 2 and "own_metric" in said[0] and "it is left out" in said[0]
    assert "LAMB" in said[1] and "Adam takes its place" in said[1]
    X = np.zeros((4, 6), "float32")
    names = set(model.evaluate(X, np.zeros((4, 3)), verbose=0, return_dict=True))
    assert names - {"loss"} and not any("own" in name for name in names)
    assert model.loss == "mse" and isinstance(model.optimizer, keras.optimizers.Adam)

    def own_metric(y, p):
        return keras.ops.mean(y - p)

    known = {"own_metric": own_metric, "LAMB": keras.optimizers.Lamb}
    model = fabricfit.load_model(path, custom_objects=known)
    assert type(model.optimizer) is keras.optimizers.Lamb
    assert "own_metric" in model.evaluate(X, np.zeros((4, 3)), verbose=0, return_dict=True)


def test_losses_of_several_outputs_keep_their_weights(tmp_path):
    training = {
        "loss": {"left": "mse", "right": {"class_name": "Huber", "config": {"delta": 0.3}}},
        "metrics": [["mae"], None],
        "loss_weights": {"left": 0.25, "right": 1.0},
        "optimizer_config": ADAM,
    }
    model = fabricfit.load_model(write_h5(tmp_path / "m.h5", build("several"), training))
    assert model.loss["left"] == "mse" and isinstance(model.loss["right"], keras.losses.Huber)
    assert model._compile_config.config["loss_weights"] == training["loss_weights"]


def test_a_model_of_keras_3_is_compiled_as_it_was(tmp_path):
    model = build("dense")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), loss, metrics=["accuracy"])
    for name in ("m.keras", "m", "m.h5"):
        model.save(tmp_path / name, zipped=name != "m")
        loaded = fabricfit.load_model(tmp_path / name)
        check_same(loaded, model)
        assert loaded.loss.get_config() == loss.get_config()
        assert loaded.optimizer.momentum == 0.5
        assert set(compiled_metrics(loaded)) == {"loss", "accuracy"}


def test_a_loss_that_is_gone_does_not_stop_the_model(tmp_path):
    def lost(y, p):
        return keras.ops.mean(keras.ops.square(y - p))

    model = keras.Sequential([keras.Input((6,)), L.Dense(3, name="fc")])
    model.compile("sgd", lost, metrics=["mae"])
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="'lost'"):
        loaded = fabricfit.load_model(tmp_path / "m.keras")
    check_same(loaded, model)
    assert loaded.loss is None
    again = fabricfit.load_model(tmp_path / "m.keras", custom_objects={"lost": lost})
    assert again.loss is lost


@pytest.mark.parametrize("odd", [[1], "adam", 5])
def test_what_is_no_training_configuration_is_named_and_left_out(odd, tmp_path):
    path = tmp_path / "m.keras"
    model = build("dense")
    model.compile("adam", "mse")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    members["config.json"] = json.dumps({**config, "compile_config": odd}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.warns(UserWarning, match=r"training configuration .* is not compiled"):
        assert not fabricfit.load_model(path).compiled
