"""Files as Keras 2 wrote them, made of models of Keras 3."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

__all__ = ["architecture", "write_archive", "write_h5", "write_json", "write_weights"]

VERSION = "2.11.0"

_OPTIONS: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {
        "groups": 1,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "kernel_regularizer": None,
    },
    "Conv2DTranspose": {"groups": 1},
    "BatchNormalization": {"fused": True, "renorm": False},
    "LSTM": {"implementation": 2, "time_major": False},
    "GRU": {"implementation": 2, "time_major": False},
    "SimpleRNN": {"time_major": False},
    "Embedding": {"input_length": 6},
    "MultiHeadAttention": {"query_shape": [None, 4, 8], "key_shape": None, "value_shape": None},
}
"""What Keras 2 also wrote of a layer."""

_WITHOUT = ("autocast", "seed", "quantization_config", "lora_rank", "lora_alpha", "optional")


def architecture(model: keras.Model) -> dict[str, Any]:
    """Return the architecture of a model as Keras 2 wrote it."""
    return _older(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))


def _older(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer or a model without modules, its calls as lists."""
    kind, config = layer["class_name"], dict(layer["config"])
    for key in _WITHOUT:
        config.pop(key, None)
    if "layers" in config:
        nested = {each["config"]["name"] for each in config["layers"] if "layers" in each["config"]}
        config["layers"] = [_older_in_graph(each, nested) for each in config["layers"]]
        config.pop("build_input_shape", None)
        for end in ("input_layers", "output_layers"):
            if end in config:
                config[end] = _listed(config[end])
        return {"class_name": kind, "config": config}
    if isinstance(config.get("dtype"), dict):
        name = config["dtype"]["config"]["name"]
        mixed = {"class_name": "Policy", "config": {"name": name}}
        config["dtype"] = name if name == "float32" else mixed
    if kind == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    if kind == "LeakyReLU":
        config["alpha"] = config.pop("negative_slope")
    if kind == "BatchNormalization":
        config["axis"] = [3 if config["axis"] == -1 else config["axis"]]
    for key, value in config.items():
        if isinstance(value, dict) and "class_name" in value and key != "dtype":
            config[key] = _older(value)
        elif key == "cells":
            config[key] = [_older(each) for each in value]
    return {"class_name": kind, "config": {**config, **_OPTIONS.get(kind, {})}}


def _listed(ends: Any) -> Any:
    """Return tensors in a list, a single one, too."""
    return [ends] if isinstance(ends[0], str) else ends


def _older_in_graph(layer: dict[str, Any], nested: set[str]) -> dict[str, Any]:
    made = _older(layer)
    if "inbound_nodes" not in layer:
        return made
    calls = []
    for node in layer["inbound_nodes"]:
        named = {key: _ends(each, nested) for key, each in node["kwargs"].items() if key != "mask"}
        args = [_ends(each, nested) for each in node["args"]]
        if made["class_name"] == "MultiHeadAttention":
            named["value"] = args.pop()
        given = [end for each in args for end in _listed(each)]
        calls.append([[*end, named] for end in given])
    return {**made, "name": layer["name"], "inbound_nodes": calls}


def _ends(value: Any, nested: set[str]) -> Any:
    """Return tensors as Keras 2 named them; a model inside a model was called once before."""
    if isinstance(value, list):
        return [_ends(each, nested) for each in value]
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        name, call, output = value["config"]["keras_history"]
        return [name, call + (name in nested), output]
    return value


def write_weights(group: Any, model: keras.Model) -> None:
    """Write the weights of a model into a group of an HDF5 file."""
    group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
    group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", VERSION.encode()
    for layer in model.layers:
        inside = group.create_group(layer.name)
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]
        names = [f"{weight.path.replace(model.name + '/', '', 1)}:0" for weight in weights]
        inside.attrs["weight_names"] = [name.encode() for name in names]
        for name, weight in zip(names, weights, strict=True):
            inside[name] = np.asarray(keras.ops.convert_to_numpy(weight))


def write_h5(path: Path, model: keras.Model, training: Any = None, config: Any = None) -> Path:
    """Write a whole model."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = VERSION, "tensorflow"
        file.attrs["model_config"] = json.dumps(config or architecture(model)).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        write_weights(file.create_group("model_weights"), model)
    return path


def write_json(path: Path, model: keras.Model) -> Path:
    """Write the architecture of a model, and its weights beside it."""
    written = {**architecture(model), "keras_version": VERSION, "backend": "tensorflow"}
    path.write_text(json.dumps(written))
    with h5py.File(path.with_name(f"{path.stem}_weights.h5"), "w") as file:
        write_weights(file, model)
    return path


def write_archive(
    path: Path, model: keras.Model, training: Any = None, layers: str = "layers"
) -> Path:
    """Write the archive of Keras 2.12 to 2.15; ``layers`` is what it called them."""
    held = path.with_name(f"{path.stem}.weights.h5")
    model.save_weights(held)
    with h5py.File(held, "r+") as file:
        if layers != "layers":
            file.move("layers", layers)
    config = {**architecture(model), "module": "keras", "registered_name": None}
    if training is not None:
        config["compile_config"] = training
    buffer = io.BytesIO(held.read_bytes())
    held.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", buffer.getvalue())
    return path
