"""Projects and configurations of hls4ml lead to the model that they were made of."""

from __future__ import annotations

import shutil

import keras
import pytest

import fabricfit
from fabricfit.cli import main
from fabricfit.errors import InvalidInputError
from tests.loading.keras2_files import write_h5, write_json
from tests.loading.models import build, check_same
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_a_project_holds_its_model(tmp_path, capfd):
    model = build("dense")
    model.save(tmp_path / "keras_model.keras")
    (tmp_path / "hls4ml_config.yml").write_text(
        "Backend: Vitis\nKerasModel: !keras_model /elsewhere/prj/keras_model.keras\nHLSConfig:\n"
        "  Model: {Precision: 'fixed<16,6>', ReuseFactor: 1, Strategy: Latency}\n"
    )
    check_same(fabricfit.load_model(tmp_path), model)
    check_same(fabricfit.load_model(tmp_path / "hls4ml_config.yml"), model)
    assert main(["estimate", str(tmp_path), "--hls-config", str(tmp_path)]) == 0
    assert model.layers[0].name in capfd.readouterr().out
    (tmp_path / "hls4ml_config.yml").unlink()
    check_same(fabricfit.load_model(tmp_path), model)


def test_a_configuration_names_an_architecture_and_weights(tmp_path, capfd):
    model = build("dense")
    (tmp_path / "keras").mkdir()
    write_json(tmp_path / "keras" / "net.json", model)
    (tmp_path / "keras" / "net_weights.h5").rename(tmp_path / "keras" / "trained.h5")
    text = "KerasJson: keras/net.json\nKerasH5: keras/trained.h5\n"
    (tmp_path / "config.yml").write_text(text)
    check_same(fabricfit.load_model(tmp_path / "config.yml"), model)
    (tmp_path / "configs").mkdir()
    shutil.copy(tmp_path / "config.yml", tmp_path / "configs" / "config.yml")
    check_same(fabricfit.load_model(tmp_path / "configs" / "config.yml"), model)
    assert main(["estimate", str(tmp_path / "config.yml")]) == 0
    assert model.layers[0].name in capfd.readouterr().out


def test_a_configuration_names_a_whole_model(tmp_path):
    model = build("dense")
    write_h5(tmp_path / "net.h5", model)
    (tmp_path / "config.yml").write_text("KerasH5: net.h5\n")
    check_same(fabricfit.load_model(tmp_path / "config.yml"), model)
    (tmp_path / "config.yml").write_text("KerasModel: net.h5\n")
    check_same(fabricfit.load_model(tmp_path / "config.yml"), model)


@pytest.mark.parametrize(
    "text, said",
    [
        ("KerasH5: gone.h5", "names gone.h5, which is not there"),
        ("OnnxModel: net.onnx", "an ONNX model"),
        ("PytorchModel: !torch_model net.pt", "a PyTorch model"),
        ("Backend: Vitis", "must name the Keras model"),
        ("- a list", "must be a configuration of hls4ml"),
        ("a: [", "not valid YAML"),
        (
            "a: !!python/object/apply:os.getcwd []",
            "must name the Keras model|not valid YAML",
        ),
    ],
)
def test_configurations_without_a_keras_model_are_refused(text, said, tmp_path):
    for name in ("net.onnx", "net.pt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        fabricfit.load_model(tmp_path / "config.yml")


def test_what_keras_3_wrote_in_two_files_is_read(tmp_path, capfd):
    model = build("several")
    (tmp_path / "net.json").write_text(model.to_json())
    model.save_weights(tmp_path / "net.weights.h5")
    check_same(fabricfit.load_model(tmp_path / "net.json"), model)
    assert main(["estimate", str(tmp_path / "net.json")]) == 0
    assert "shared" in capfd.readouterr().out
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(
        tmp_path / "net.weights.h5"
    )
    with pytest.raises(InvalidInputError, match="not those of the architecture"):
        fabricfit.load_model(tmp_path / "net.json")
