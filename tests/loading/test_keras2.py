"""Models that Keras 2 wrote compute what they did."""

from __future__ import annotations

import copy
import json

import h5py
import keras
import pytest

import fabricfit
from fabricfit.cli import main
from fabricfit.errors import InvalidInputError
from tests.common import L
from tests.loading.keras2_files import architecture, write_archive, write_h5, write_json
from tests.loading.models import MODELS, build, check_same
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.mark.parametrize("kind", MODELS)
def test_a_whole_model_computes_the_same(kind, tmp_path):
    model = build(kind)
    loaded = fabricfit.load_model(write_h5(tmp_path / "model.h5", model))
    check_same(loaded, model)
    assert not loaded.compiled


@pytest.mark.parametrize("kind", ["dense", "several", "recurrent"])
def test_an_architecture_takes_the_weights_beside_it(kind, tmp_path):
    model = build(kind)
    path = write_json(tmp_path / "model.json", model)
    check_same(fabricfit.load_model(path), model)
    moved = (tmp_path / "model_weights.h5").rename(tmp_path / "other.h5")
    check_same(fabricfit.load_model(path, weights=moved), model)
    with pytest.raises(
        InvalidInputError, match=r"model_weights\.h5, model\.weights\.h5 or model\.h5"
    ):
        fabricfit.load_model(path)


@pytest.mark.parametrize("layers", ["layers", "_layer_checkpoint_dependencies"])
@pytest.mark.parametrize("kind", ["dense", "depthwise", "several"])
def test_an_archive_of_keras_2_computes_the_same(kind, layers, tmp_path):
    model = build(kind)
    check_same(
        fabricfit.load_model(write_archive(tmp_path / "m.keras", model, layers=layers)), model
    )


@pytest.mark.parametrize(
    "write, name", [(write_h5, "m.h5"), (write_json, "m.json"), (write_archive, "m.keras")]
)
def test_the_command_line_loads_what_keras_2_wrote(write, name, tmp_path, capfd):
    path = write(tmp_path / name, build("dense"))
    assert main(["estimate", str(path), "--device", "pynq-z2"]) == 0
    assert "dense" in capfd.readouterr().out


def test_an_hdf5_file_may_have_the_name_of_an_archive(tmp_path):
    model = build("dense")
    check_same(fabricfit.load_model(write_h5(tmp_path / "model.keras", model)), model)


def test_a_sequence_before_keras_2_2_is_a_list_without_an_input(tmp_path):
    model = build("depthwise")
    config = architecture(model)["config"]["layers"]
    shape = config.pop(0)["config"]["batch_input_shape"]
    config[0]["config"]["batch_input_shape"] = shape
    config[2]["class_name"] = "Convolution2DTranspose"
    config[3]["class_name"] = "BatchNormalizationV1"
    older = {"class_name": "Sequential", "config": config}
    check_same(fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=older)), model)


def test_a_gru_without_the_option_resets_before(tmp_path):
    model = build("recurrent")
    config = architecture(model)
    del config["config"]["layers"][1]["config"]["reset_after"]
    check_same(fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=config)), model)


def test_a_model_is_called_model_in_older_files(tmp_path):
    model = build("several")
    config = {**architecture(model), "class_name": "Model"}
    check_same(fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=config)), model)


def test_normalization_and_rescaling_have_their_former_package(tmp_path):
    model = keras.Sequential(
        [keras.Input((6,)), L.Normalization(mean=1.0, variance=4.0), L.Rescaling(2.0)]
    )
    config = architecture(model)
    for layer in config["config"]["layers"][1:]:
        layer["class_name"] = f"Experimental>{layer['class_name']}"
    check_same(fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=config)), model)


def test_weights_that_are_stored_in_another_order_go_by_their_names(tmp_path):
    model = build("dense")
    path = write_h5(tmp_path / "m.h5", model)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"][model.layers[1].name]
        group.attrs["weight_names"] = list(group.attrs["weight_names"])[::-1]
    check_same(fabricfit.load_model(path), model)


def test_names_have_no_slashes_and_dropout_is_always_trainable(tmp_path):
    layers = [L.Dense(5, name="block_fc"), L.SpatialDropout1D(0.1, name="drop")]
    model = keras.Sequential([keras.Input((4, 6)), *layers], name="net")
    older = copy.deepcopy(architecture(model))
    older["config"]["layers"][1]["config"]["name"] = "block/fc"
    older["config"]["layers"][2]["config"]["trainable"] = True
    path = write_h5(tmp_path / "m.h5", model, config=older)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        group.attrs["layer_names"] = [b"block/fc", b"drop"]
        group.move("block_fc", "block/fc")
    check_same(fabricfit.load_model(path), model)


def test_what_pruned_a_layer_in_training_is_left_out(tmp_path):
    model = build("dense")
    config = architecture(model)
    for layer in config["config"]["layers"][1:]:
        inner = {key: layer[key] for key in ("class_name", "config")}
        name = f"prune_low_magnitude_{inner['config']['name']}"
        layer |= {"class_name": "PruneLowMagnitude", "config": {"name": name, "layer": inner}}
    path = write_h5(tmp_path / "m.h5", model, config=config)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        names = [layer.name for layer in model.layers]
        group.attrs["layer_names"] = [f"prune_low_magnitude_{name}".encode() for name in names]
        for name in names:
            group.move(name, f"prune_low_magnitude_{name}")
            inside = group[f"prune_low_magnitude_{name}"]
            inside["pruning_step:0"] = 3
            inside.attrs["weight_names"] = [*inside.attrs["weight_names"], "pruning_step:0"]
    check_same(fabricfit.load_model(path), model)


def test_calls_of_functions_become_layers(tmp_path):
    given = keras.Input((6,), name="given")
    wide = L.Dense(6, name="wide")(given)
    total = L.Activation("relu", name="nn_relu")(L.Add(name="add")([given, wide]))
    scaled = L.Rescaling(2.0, name="math_multiply")(total)
    joined = L.Concatenate(name="concat")([scaled, wide])
    model = keras.Model(given, L.Dense(2, name="out")(joined))

    config = architecture(model)
    functions = {
        "add": ("__operators__.add", [["given", 0, 0, {"y": ["wide", 0, 0], "name": None}]]),
        "nn_relu": ("nn.relu", [["tf.__operators__.add", 0, 0, {"name": None}]]),
        "math_multiply": ("math.multiply", [["tf.nn.relu", 0, 0, {"y": 2.0, "name": None}]]),
        "concat": (
            "concat",
            [[["tf.math.multiply", 0, 0, {"axis": -1}], ["wide", 0, 0, {"axis": -1}]]],
        ),
    }
    for place, layer in enumerate(config["config"]["layers"]):
        if layer["name"] in functions:
            function, calls = functions[layer["name"]]
            named = {"name": f"tf.{function}", "trainable": True, "dtype": "float32"}
            config["config"]["layers"][place] = {
                "class_name": "TFOpLambda",
                "config": {**named, "function": function},
                "name": f"tf.{function}",
                "inbound_nodes": calls,
            }
    config["config"]["layers"][-1]["inbound_nodes"] = [[["tf.concat", 0, 0, {}]]]
    check_same(fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=config)), model)


def test_options_of_keras_2_in_a_file_of_keras_3_are_understood(tmp_path):
    model = build("depthwise")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    check_same(fabricfit.load_model(tmp_path / "m.h5"), model)


def test_a_plugin_declares_a_class_of_keras_2(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_layers_of_keras_2.py").write_text(
        "import keras\n\n\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Doubled(keras.layers.Dense):\n"
        "    def call(self, x):\n"
        "        return 2 * super().call(x)\n"
    )
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, name="fc")])
    config = architecture(model)
    config["config"]["layers"][1]["class_name"] = "Doubled"
    path = write_h5(tmp_path / "m.h5", model, config=config)
    assert main(["estimate", str(path)]) == 2
    assert "class 'Doubled', which Keras does not know" in " ".join(capfd.readouterr().err.split())
    assert main(["estimate", str(path), "--plugin", "own_layers_of_keras_2"]) == 0
    assert type(fabricfit.load_model(path).layers[0]).__name__ == "Doubled"
    del keras.saving.get_custom_objects()["mine>Doubled"]
