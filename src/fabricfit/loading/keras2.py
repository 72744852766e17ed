"""Architectures as Keras 2 wrote them, in the words of Keras 3."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.loading.keras2_functions import plain_names, replace_function
from fabricfit.loading.keras2_graph import CallNames, name_of, without_slashes
from fabricfit.loading.keras2_options import (
    CLASSES,
    CODE_IN_GRAPH,
    RULES,
    UNBUILDABLE,
    WITHOUT_EFFECT,
    OptionError,
)
from fabricfit.loading.safety import explain_unknown

__all__ = ["translate"]

_PARTS = {
    "_initializer": keras.initializers,
    "_regularizer": keras.regularizers,
    "_constraint": keras.constraints,
}
_LAYERS_INSIDE = ("layer", "backward_layer", "cell", "cells")
_ACTIVATIONS = ("activation", "recurrent_activation")


@dataclass(frozen=True)
class _Scope:
    """The file that is read, and the classes and functions that are not Keras' own."""

    source: str
    objects: Mapping[str, Any]
    changed: bool

    def refuse(self, layer: str, reason: str) -> InvalidInputError:
        return InvalidInputError(f"{self.source}, written by Keras 2: layer {layer!r} {reason}.")


def translate(
    config: Mapping[str, Any], source: str, objects: Mapping[str, Any], *, changed: bool = True
) -> dict[str, Any]:
    """Return an architecture of Keras 2 as Keras 3 would have written it.

    What computes the same under another name or by another option is renamed; what Keras 3 computes
    otherwise, or not at all, is refused.

    Parameters
    ----------
    config
        Class and configuration of the model; not changed.
    source
        The file, for messages.
    objects
        Classes and functions that are not Keras' own, by name: they are left as they are.
    changed
        Whether functions of the same name mean those of Keras 2.

    Raises
    ------
    InvalidInputError
        A layer cannot be said in Keras 3 so that it computes the same.
    """
    return _translate_layer(copy.deepcopy(dict(config)), _Scope(source, objects, changed))


def _translate_layer(layer: dict[str, Any], scope: _Scope) -> dict[str, Any]:
    kind, config = _plain_name(layer["class_name"], scope), layer["config"]
    if kind in scope.objects:
        return _translate_own(layer, kind, scope)
    if isinstance(config, dict) and "input_layers" in config and "layers" in config:
        return _describe("Model", _translate_graph(config, scope), "keras")
    if kind == "Sequential":
        return _describe("Sequential", _translate_sequence(config, scope), "keras")
    name = str(config.get("name", kind))
    if reason := UNBUILDABLE.get(kind):
        raise scope.refuse(name, f"is a {kind}, which cannot be built: {reason}")
    if kind == "TFOpLambda" or kind in CODE_IN_GRAPH:
        function = config.get("function") or config.get("method_name") or kind
        raise scope.refuse(
            name,
            f"calls TensorFlow's function {function!r}, which Keras 3 cannot load. Build the model "
            "with a layer of Keras in its place, such as Add, Multiply, Activation, Concatenate "
            "or Reshape, load the weights in Keras 2 and save it again",
        )
    target = getattr(keras.layers, CLASSES.get(kind, kind), None)
    if target is None:
        raise explain_unknown(scope.source, kind, name, layer.get("module"))
    return _describe(CLASSES.get(kind, kind), _translate_options(kind, config, target, name, scope))


def _plain_name(kind: str, scope: _Scope) -> str:
    """Return the name of a class without the package under which it was registered."""
    plain = kind.rpartition(">")[2]
    return kind if kind in scope.objects or not hasattr(keras.layers, plain) else plain


def _describe(kind: str, config: Any, module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _translate_own(layer: dict[str, Any], kind: str, scope: _Scope) -> dict[str, Any]:
    """Leave the options of a layer of another package, but for what Keras 2 wrote otherwise in all layers."""
    config, target = layer["config"], scope.objects[kind]
    name = str(config.get("name", kind))
    _translate_dtype(config)
    if "name" in config:
        config["name"] = without_slashes(name)
    config.pop("batch_input_shape", None)
    axis = config.get("axis")
    if (
        kind.endswith(("Batchnorm", "BatchNormalization"))
        and isinstance(axis, list)
        and len(axis) == 1
    ):
        (config["axis"],) = axis
    _apply_rule(kind, config, name, scope)
    for key in _LAYERS_INSIDE:
        if isinstance(config.get(key), dict) and "class_name" in config[key]:
            config[key] = _translate_layer(config[key], scope)
    if isinstance(target, type):
        _drop_without_effect(config, target)
    return {"module": None, "class_name": kind, "config": config, "registered_name": kind}


def _translate_graph(config: dict[str, Any], scope: _Scope) -> dict[str, Any]:
    written = config["layers"]
    pruned = {name_of(each): _strip_pruning(each)["config"]["name"] for each in written}
    renamed = {**{old: new for old, new in pruned.items() if old != new}, **plain_names(written)}
    names = CallNames.read(written, renamed)
    layers = []
    for each in map(_strip_pruning, written):
        each = (replace_function(each) if each["class_name"] == "TFOpLambda" else None) or each
        new = _translate_layer(each, scope)
        name = renamed.get(name_of(each), name_of(each))
        new["config"]["name"] = new["name"] = name
        new["inbound_nodes"] = names.calls(each, new["class_name"], scope.source)
        layers.append(new)
    ends = {key: names.ends(config[key]) for key in ("input_layers", "output_layers")}
    return {**_keep_shared(config), "layers": layers, **ends}


def _strip_pruning(layer: dict[str, Any]) -> dict[str, Any]:
    """Return the layer inside a wrapper of TensorFlow Model Optimization, which pruned it in training."""
    if layer["class_name"] != "PruneLowMagnitude":
        return layer
    inner = copy.deepcopy(layer["config"]["layer"])
    if "batch_input_shape" in layer["config"]:
        inner["config"].setdefault("batch_input_shape", layer["config"]["batch_input_shape"])
    if "inbound_nodes" in layer:
        inner |= {"name": inner["config"]["name"], "inbound_nodes": layer["inbound_nodes"]}
    return inner


def _translate_sequence(config: Any, scope: _Scope) -> dict[str, Any]:
    if isinstance(config, list):  # before Keras 2.2.3
        config = {"name": "sequential", "layers": config}
    layers = list(map(_strip_pruning, config["layers"]))
    first = layers[0]["config"] if layers else {}
    shape = _first_shape(first) or config.get("build_input_shape")
    dtype = first.get("dtype") if isinstance(first, dict) else None
    new = [_translate_layer(each, scope) for each in layers]
    if (
        shape is not None
        and new
        and new[0]["class_name"] not in ("InputLayer", "Model", "Sequential")
    ):
        named = {"name": f"{new[0]['config'].get('name', 'first')}_input", "batch_shape": shape}
        named |= (
            {"dtype": dtype}
            if isinstance(dtype, str) and dtype.startswith(("float", "int"))
            else {}
        )
        new.insert(0, _describe("InputLayer", named))
    return {**_keep_shared(config), "layers": new}


def _first_shape(config: Any) -> Any:
    """Return the shape of the input that the first layer of a sequence says, or the layer inside it."""
    while isinstance(config, dict):
        if config.get("batch_input_shape"):
            return config["batch_input_shape"]
        config = config["layer"].get("config") if isinstance(config.get("layer"), dict) else None
    return None


def _keep_shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model has in common with a layer: its name, and whether it is trained."""
    kept = {key: config[key] for key in ("name", "trainable") if key in config}
    return {**kept, "name": without_slashes(kept["name"])} if "name" in kept else kept


def _translate_options(
    kind: str, config: dict[str, Any], target: Any, name: str, scope: _Scope
) -> dict[str, Any]:
    _translate_dtype(config)
    if "name" in config:
        config["name"] = without_slashes(name)
    _apply_rule(kind, config, name, scope)
    for key, value in list(config.items()):
        if key in _LAYERS_INSIDE:
            config[key] = _translate_inside(value, scope)
        elif key in _ACTIVATIONS:
            config[key] = _translate_activation(value, key, name, scope)
        elif part := next((part for ending, part in _PARTS.items() if key.endswith(ending)), None):
            if _is_other_initializer(value, part, scope):
                del config[key]  # the weights in the file take its place
            else:
                config[key] = _translate_part(value, part, name, scope)
    if target is not keras.layers.InputLayer:
        config.pop("batch_input_shape", None)
    _drop_without_effect(config, target)
    for key in set(config) - _accepted(target):
        raise scope.refuse(
            name, f"has {key}={config[key]!r}, and Keras 3's {target.__name__} no such option"
        )
    return config


def _apply_rule(kind: str, config: dict[str, Any], name: str, scope: _Scope) -> None:
    try:
        RULES.get(kind, lambda config: None)(config)
    except OptionError as error:
        raise scope.refuse(name, str(error)) from error


def _drop_without_effect(config: dict[str, Any], target: Any) -> None:
    """Leave out options that Keras 3 does not have, at values that change nothing."""
    for key in set(config) - _accepted(target):
        neutral = (None, False, [], {}, "", *WITHOUT_EFFECT.get(key, ()))
        if any(type(config[key]) is type(each) and config[key] == each for each in neutral):
            del config[key]


def _accepted(target: Any) -> set[str]:
    """Return the options that a class accepts."""
    names: set[str] = set()
    for each in target.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = inspect.signature(each.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if each is keras.layers.Layer or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self"}


def _translate_dtype(config: dict[str, Any]) -> None:
    """Name the number format of a layer, as a string."""
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        dtype = dtype.get("config", {}).get("name")
    if dtype in (None, "infer", "_infer"):
        config.pop("dtype", None)
    else:
        config["dtype"] = dtype


def _translate_inside(value: Any, scope: _Scope) -> Any:
    if isinstance(value, list):
        return [_translate_inside(each, scope) for each in value]
    return _translate_layer(value, scope) if isinstance(value, dict) else value


def _translate_activation(value: Any, key: str, name: str, scope: _Scope) -> Any:
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value["config"]
    if isinstance(value, dict):
        kind = str(value.get("class_name"))
        if kind in scope.objects:
            return value
        return _translate_layer(value, scope) if "config" in value else value
    if value is None:
        return value
    if value in scope.objects:  # by name alone, Keras would take its own
        return {**_describe("function", value, "builtins"), "registered_name": value}
    if value == "hard_sigmoid" and scope.changed:
        raise scope.refuse(
            name,
            f"has {key}='hard_sigmoid', which is clip(0.2 x + 0.5, 0, 1) in Keras 2 and clip(x / 6 "
            "+ 0.5, 0, 1) in Keras 3, so that it would compute something else. (hls4ml builds the former of "
            "both, and none in recurrent layers.) Train it with 'sigmoid', or give the function that "
            "is to be used: custom_objects={'hard_sigmoid': …}, of one that returns "
            "keras.ops.clip(0.2 * x + 0.5, 0, 1), or on the command line a --plugin that registers it with "
            "Keras; hls4ml has no code for that",
        )
    if getattr(keras.activations, value, None) is None and "(" not in value:
        raise explain_unknown(scope.source, value, name, None)
    return value


def _is_other_initializer(value: Any, part: Any, scope: _Scope) -> bool:
    if part is not keras.initializers or not isinstance(value, dict):
        return False
    kind = str(value.get("class_name"))
    return kind not in scope.objects and not hasattr(part, kind.rpartition(">")[2])


def _translate_part(value: Any, part: Any, name: str, scope: _Scope) -> Any:
    """Return an initializer, a regularizer or a constraint."""
    if not isinstance(value, dict) or value.get("class_name") in scope.objects:
        return value
    kind, config = str(value.get("class_name")).rpartition(">")[2], value.get("config") or {}
    target = getattr(part, kind, None)
    if target is None:
        raise explain_unknown(scope.source, kind, name, None)
    accepted = _accepted(target)
    kept = {option: each for option, each in config.items() if option in accepted}
    return _describe(kind, kept, part.__name__)
