"""SavedModel folders of Keras 2: their architecture and weights are read, their graph is not run."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.cli import main
from fabricfit.errors import InvalidInputError, MissingExtraError
from tests.loading.keras2_files import architecture
from tests.loading.models import build, check_same
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

tf = pytest.importorskip("tensorflow")
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel


def _varint(value):
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _metadata(nodes):
    """Return the bytes of keras_metadata.pb."""
    found = b""
    for number, described in nodes.items():
        text = json.dumps(described).encode()
        node = b"\x10" + _varint(number) + b"\x2a" + _varint(len(text)) + text
        found += b"\x0a" + _varint(len(node)) + node
    return found


def _trackable(layer):
    made = tf.__internal__.tracking.AutoTrackable()
    for name in ("trainable", "non_trainable"):
        weights = getattr(layer, f"{name}_weights")
        values = [tf.Variable(keras.ops.convert_to_numpy(w), name=w.name) for w in weights]
        setattr(made, f"{name}_variables", values)
    return made


def write_saved_model(folder, model, *, inside=False):
    """Write a SavedModel as Keras 2 did, with what it says of layers beside or inside the graph."""
    root = tf.__internal__.tracking.AutoTrackable()
    for place, layer in enumerate(model.layers):
        setattr(root, f"layer_{place}", _trackable(layer))
    tf.saved_model.save(root, str(folder))
    path = folder / "saved_model.pb"
    graph = SavedModel.FromString(path.read_bytes())
    nodes = graph.meta_graphs[0].object_graph_def.nodes
    children = {child.local_name: child.node_id for child in nodes[0].children}
    config = architecture(model)
    config["config"]["layers"][0]["config"]["batch_input_shape"] = {
        "class_name": "__tuple__",
        "items": [None, *model.input_shape[1:]],
    }
    loss = {"loss": "mse", "metrics": None, "optimizer_config": {"class_name": "SGD", "config": {}}}
    described = {0: {"name": model.name, **config, "training_config": loss}}
    for place, layer in enumerate(model.layers):
        described[children[f"layer_{place}"]] = {"name": layer.name, "class_name": "Layer"}
    if inside:
        for number, each in described.items():
            nodes[number].user_object.identifier = "_tf_keras_layer"
            nodes[number].user_object.metadata = json.dumps(each)
        path.write_bytes(graph.SerializeToString())
    else:
        (folder / "keras_metadata.pb").write_bytes(_metadata(described))
    return folder


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["dense", "frozen"])
def test_a_saved_model_computes_the_same(kind, inside, tmp_path, capfd):
    model = build(kind)
    folder = write_saved_model(tmp_path / "saved", model, inside=inside)
    loaded = fabricfit.load_model(folder)
    check_same(loaded, model)
    assert loaded.loss == "mse" and isinstance(loaded.optimizer, keras.optimizers.SGD)
    check_same(fabricfit.load_model(folder / "saved_model.pb"), model)
    if kind == "dense":
        assert main(["estimate", str(folder)]) == 0
        assert model.layers[0].name in capfd.readouterr().out


def test_a_graph_without_an_architecture_is_refused(tmp_path):
    root = tf.__internal__.tracking.AutoTrackable()
    root.weight = tf.Variable(np.zeros(3, "float32"))
    tf.saved_model.save(root, str(tmp_path / "saved"))
    with pytest.raises(
        InvalidInputError, match=r"without the architecture .*model\.export.*graph of"
    ):
        fabricfit.load_model(tmp_path / "saved")


def test_damaged_folders_are_refused(tmp_path):
    folder = write_saved_model(tmp_path / "saved", build("dense"))
    (folder / "keras_metadata.pb").write_bytes(b"\x0f\xff")
    with pytest.raises(InvalidInputError, match="metadata of Keras"):
        fabricfit.load_model(folder)
    (folder / "keras_metadata.pb").unlink()
    (folder / "saved_model.pb").write_bytes(b"what is this")
    with pytest.raises(InvalidInputError, match="cannot be read as a SavedModel"):
        fabricfit.load_model(folder)


def test_without_tensorflow_its_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r"fabricfit\[tensorflow\]"):
        fabricfit.load_model(tmp_path)
