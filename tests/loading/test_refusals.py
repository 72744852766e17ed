"""Files that are refused say why, and what is to be done; nothing in them is run."""

from __future__ import annotations

import io
import json
import marshal
import zipfile
from base64 import b64encode

import h5py
import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError
from fabricfit.loading.keras2 import translate
from tests.common import L
from tests.loading.keras2_files import architecture, write_h5
from tests.loading.models import build, check_same
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_the_code_of_a_lambda_is_named_and_not_run(name, tmp_path):
    layers = [L.Dense(3), L.Lambda(lambda x: x * 2, name="twice"), L.Dense(2)]
    keras.Sequential([keras.Input((6,)), *layers]).save(tmp_path / name)
    with pytest.raises(
        InvalidInputError, match=r"layer 'twice' holds the code .*never run.*Rescaling"
    ):
        fabricfit.load_model(tmp_path / name)


def test_the_code_of_a_lambda_of_keras_2_is_named_and_not_run(tmp_path):
    model = build("dense")
    config = architecture(model)
    code = b64encode(marshal.dumps((lambda x: x).__code__)).decode()
    config["config"]["layers"][2] = {
        "class_name": "Lambda",
        "config": {"name": "twice", "function": [code, None, None], "function_type": "lambda"},
    }
    path = write_h5(tmp_path / "m.h5", model, config=config)
    with pytest.raises(
        InvalidInputError, match="layer 'twice' holds the code of a Python function"
    ):
        fabricfit.load_model(path)


def test_a_class_that_nobody_knows_is_named_with_its_module(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Own(L.Dense):
        pass

    model = keras.Sequential([keras.Input((6,)), Own(3, name="fc")])
    model.save(tmp_path / "m.keras")
    assert fabricfit.load_model(tmp_path / "m.keras").layers[0].name == "fc"
    del keras.saving.get_custom_objects()["mine>Own"]
    with pytest.raises(InvalidInputError, match=r"layer 'fc' .*class 'Own' of '.*--plugin"):
        fabricfit.load_model(tmp_path / "m.keras")
    assert fabricfit.load_model(tmp_path / "m.keras", custom_objects={"Own": Own, "mine>Own": Own})


def _layer(kind, **config):
    return {"class_name": kind, "config": {"name": "it", **config}}


@pytest.mark.parametrize(
    "layer, said",
    [
        (_layer("LocallyConnected1D"), "'it' is a LocallyConnected1D.*no locally connected layers"),
        (_layer("CuDNNLSTM"), "NVIDIA GPUs.*tf_keras"),
        (_layer("QuantizeWrapperV2"), "QKeras or HGQ2"),
        (_layer("GarNet"), "class 'GarNet', which Keras does not know.*--plugin"),
        (
            _layer("LSTM", units=2, recurrent_activation="hard_sigmoid"),
            r"clip\(0\.2 x \+ 0\.5, 0, 1\)",
        ),
        (_layer("Dense", units=2, activation="my_function"), "class 'my_function'"),
        (_layer("Dense", units=2, thrice=True), r"thrice=True, and Keras 3's Dense no such option"),
        (_layer("BatchNormalization", axis=[1, 2]), r"over the axes \[1, 2\]"),
        (_layer("BatchNormalization", renorm=True), "renormalizes"),
        (_layer("Attention", causal=True), "causal=True"),
        (_layer("TFOpLambda", function="signal.fft"), "TensorFlow's function 'signal.fft'"),
        (_layer("SlicingOpLambda", function="__getitem__"), "function '__getitem__'"),
        (
            _layer("Dense", units=2, kernel_regularizer=_layer("Spectral")),
            "class 'Spectral', which Keras does not know",
        ),
    ],
)
def test_a_layer_that_keras_3_would_compute_otherwise_is_refused(layer, said):
    with pytest.raises(InvalidInputError, match=said) as told:
        translate({"class_name": "Sequential", "config": [layer]}, "old.h5", {})
    assert str(told.value).startswith("old.h5")


def test_a_function_may_be_given_for_one_that_has_changed(tmp_path):
    def hard_sigmoid(x):
        return keras.ops.clip(0.2 * x + 0.5, 0, 1)

    layers = [L.LSTM(2, recurrent_activation=hard_sigmoid), L.Dense(2, activation=hard_sigmoid)]
    model = keras.Sequential([keras.Input((4, 3)), *layers])
    config = architecture(model)
    config["config"]["layers"][1]["config"]["recurrent_activation"] = "hard_sigmoid"
    config["config"]["layers"][2]["config"]["activation"] = "hard_sigmoid"
    path = write_h5(tmp_path / "m.h5", model, config=config)
    with pytest.raises(InvalidInputError, match="clip"):
        fabricfit.load_model(path)
    loaded = fabricfit.load_model(path, custom_objects={"hard_sigmoid": hard_sigmoid})
    check_same(loaded, model)
    assert loaded.layers[1].activation is hard_sigmoid


def test_hls4ml_builds_the_hard_sigmoid_that_a_refusal_tells():
    layers = pytest.importorskip("hls4ml.model.layers")
    defaults = {each.name: each.default for each in layers.HardActivation._expected_attributes}
    assert (defaults["slope"], defaults["shift"]) == (0.2, 0.5)
    layer = _layer("Activation", activation="hard_sigmoid")
    with pytest.raises(InvalidInputError, match=r"hls4ml builds the former of both"):
        translate({"class_name": "Sequential", "config": [layer]}, "old.h5", {})
    x = np.linspace(-4, 4, 1001, dtype="float32")
    former = np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1)
    present = np.asarray(keras.ops.convert_to_numpy(keras.activations.hard_sigmoid(x)))
    assert np.abs(former - present).max() == pytest.approx(1 / 12, abs=1e-3)


def _torch_archive():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return held.getvalue()


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("m.pt", b"", "a PyTorch model.*nobuco"),
        ("m.pth", b"", "a PyTorch model"),
        ("m.bin", _torch_archive(), "a PyTorch model"),
        ("m.onnx", b"", "an ONNX model.*onnx2tf"),
        ("m.tflite", b"", "TensorFlow Lite"),
        ("m.pkl", b"", "a pickle, and loading it would run"),
        ("m.pb", b"", "a graph of TensorFlow"),
        ("m.ckpt", b"", "a checkpoint"),
        ("m.txt", b"a model", r"a model must be a \.keras or \.h5 file"),
        ("m.json", b"{", "the architecture in .*m.json, line 1: not valid JSON"),
        ("m.json", b"[]", "must describe a Keras model"),
    ],
)
def test_files_of_others_are_refused_with_the_way_out(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=said):
        fabricfit.load_model(tmp_path / name)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="there is no model at"):
        fabricfit.load_model(tmp_path / "m.keras")
    with pytest.raises(InvalidInputError, match=r"neither a SavedModel .* nor a project of hls4ml"):
        fabricfit.load_model(tmp_path)
    path = write_h5(tmp_path / "m.h5", build("dense"))
    with pytest.raises(InvalidInputError, match=r"weights are given for an architecture"):
        fabricfit.load_model(path, weights=path)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
    with pytest.raises(InvalidInputError, match=r"weights and no architecture.*m\.json"):
        fabricfit.load_model(path)


@pytest.mark.parametrize(
    "attributes, said",
    [
        ({"keras_version": "1.2.2"}, "written by Keras 1"),
        ({"backend": "theano"}, "Keras with Theano"),
    ],
)
def test_files_of_keras_1_and_of_theano_are_refused(attributes, said, tmp_path):
    path = write_h5(tmp_path / "m.h5", build("dense"))
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)
    with pytest.raises(InvalidInputError, match=said):
        fabricfit.load_model(path)


def test_weights_of_another_model_are_refused(tmp_path):
    model, other = (
        keras.Sequential([keras.Input((6,)), L.Dense(units, name="fc")]) for units in (3, 4)
    )
    path = write_h5(tmp_path / "m.h5", other, config=architecture(model))
    with pytest.raises(
        InvalidInputError, match=r"layer 'fc' has weights of the shapes \[\(6, 3\), \(3,\)\]"
    ):
        fabricfit.load_model(path)
    path = write_h5(tmp_path / "n.h5", build("dense"), config=architecture(model))
    with pytest.raises(InvalidInputError, match="weights of 4 layers"):
        fabricfit.load_model(path)


def test_an_archive_that_would_grow_beyond_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fabricfit.reading.archives._NEVER_SUSPECT", 1 << 10)
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"class_name": " " * (1 << 20)}))
    with pytest.raises(InvalidInputError, match="would grow from"):
        fabricfit.load_model(tmp_path / "m.keras")
