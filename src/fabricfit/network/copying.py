"""Copies of layers, with the user's own functions and objects in them.

Keras describes a layer by a configuration, in which functions and objects are no more than names: those that
are not registered, have no name (lambdas), or share it with another are not found again. Here each of them is
called by a name of its own while the configuration is read, so that the copy holds the very same one.
"""

from __future__ import annotations

import itertools
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.layers.units import Changed

__all__ = [
    "copy_layer",
    "copy_object",
    "every_layer",
    "is_own_class",
    "names_in",
    "stand_ins",
    "unregistered_names",
]

_LIBRARIES = ("keras", "qkeras", "hgq", "quantizers")
_BUILT_IN = (keras.activations, keras.constraints, keras.initializers, keras.regularizers)

_numbers = itertools.count()


def copy_layer(layer: Any, changes: Mapping[str, Any] | None = None) -> Any:
    """Return a new layer that is like another one; its weights are new, and made when it is called.

    Nothing in the layer need be registered with Keras. Functions and objects such as activations and
    regularizers are the same ones in both layers; layers inside it are copied.

    Parameters
    ----------
    layer
        The layer, or an operation of ``keras.ops`` in a model's graph.
    changes
        Entries of the configuration that are other ones in the copy. A layer inside this one is named by
        :class:`~fabricfit.layers.units.Changed`.

    Raises
    ------
    InvalidInputError
        It cannot be made anew from its configuration.
    """
    if not isinstance(layer, keras.layers.Layer):
        return _copy_operation(layer)
    new = copy_object(layer, type(layer), changes)
    new.name = layer.name  # which some forget, such as QKeras' recurrent ones
    if new.dtype_policy.name != layer.dtype_policy.name:
        new.dtype_policy = layer.dtype_policy
    return new


def copy_object(thing: Any, kind: Any, changes: Mapping[str, Any] | None = None) -> Any:
    """Return a new layer, optimizer or other thing that has a configuration.

    Parameters
    ----------
    thing
        What is copied.
    kind
        The class of the copy.
    changes
        As for :func:`copy_layer`.

    Raises
    ------
    InvalidInputError
        It cannot be made anew from its configuration.
    """
    changed = {
        key: copy_layer(value.layer, value.config) if isinstance(value, Changed) else value
        for key, value in (changes or {}).items()
    }
    made, errors = [], []
    for describe in (_describe_by_stand_ins, _describe_with_objects, _describe_as_it_is):
        try:
            config, objects = describe(thing)
            new = _make(thing, kind, {**config, **changed}, objects)
        except Exception as error:  # whatever a class of the user's may raise
            errors.append(error)
            continue
        if _holds_the_same(new, thing):
            return new
        made.append(new)
    if not made:
        raise InvalidInputError(_explain(thing, errors[0])) from errors[0]
    return made[0]


def every_layer(layer: Any) -> Iterator[Any]:
    """Iterate over a model or layer and all layers in it, those inside layers included."""
    yield from layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else [layer]


def is_own_class(kind: type) -> bool:
    """Return whether a class is neither Keras' nor one of the libraries whose layers are known."""
    return kind.__module__.split(".")[0] not in _LIBRARIES


@contextmanager
def stand_ins(layer: Any, name_of: Callable[[Any], str]) -> Iterator[dict[str, Any]]:
    """Let a layer's functions and objects of the user's own have other names for a while.

    So its configuration can be read, in which they are no more than names.

    Parameters
    ----------
    layer
        A layer or model; it is as it was afterwards.
    name_of
        Returns the name that stands for a function or an object.

    Yields
    ------
    dict
        Name -> function or object, for ``keras.saving.custom_object_scope``.
    """
    objects: dict[str, Any] = {}
    made: dict[int, Any] = {}

    def replace(value: Any) -> Any:
        if _is_own(value):
            if id(value) not in made:
                name = name_of(value)
                objects[name], made[id(value)] = value, _make_stand_in(name, value)
            return made[id(value)]
        if isinstance(value, dict):
            replaced: Any = {key: replace(each) for key, each in value.items()}
            changed = any(replaced[key] is not each for key, each in value.items())
        elif isinstance(value, list | tuple):
            replaced = [replace(each) for each in value]
            changed = any(new is not old for new, old in zip(replaced, value, strict=True))
            replaced = tuple(replaced) if isinstance(value, tuple) else replaced
        else:
            return value
        return replaced if changed else value

    with ExitStack() as stack:
        for each, name, value in list(_iterate_attributes(layer)):
            new = replace(value)
            if new is not value:  # without Keras' tracking of attributes
                vars(each)[name] = new
                stack.callback(vars(each).__setitem__, name, value)
        yield objects


def unregistered_names(model: keras.Model) -> tuple[str, ...]:
    """Return the names of what a file of a model does not hold, and Keras does not know.

    Such as the classes of layers and the functions that ``load_model`` must be given as
    ``custom_objects``. The name of a lambda is ``'<lambda>'``.
    """
    classes = {type(layer) for layer in every_layer(model) if is_own_class(type(layer))}
    held = [value for _, _, value in _iterate_attributes(model) if _is_own(value)]
    held = [value for value in held if isinstance(value, types.FunctionType)] + [
        type(value) for value in held if not isinstance(value, types.FunctionType)
    ]
    found = {
        thing.__name__
        for thing in (*classes, *held)
        if keras.saving.get_registered_object(keras.saving.get_registered_name(thing)) is not thing
    }
    return tuple(sorted(found))


def _copy_operation(operation: Any) -> Any:
    """Return an operation without the calls that a graph records in it; it has no weights."""
    new = object.__new__(type(operation))
    vars(new).update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
    return new


def _describe_by_stand_ins(layer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a layer's configuration, with a name of its own for each function and object in it."""
    with stand_ins(layer, lambda _: f"fabricfit_object_{next(_numbers)}") as objects:
        config = layer.get_config()
    plain = {
        name
        for each in every_layer(layer)
        if _has_plain_from_config(type(each))
        for name in (type(each).__name__, keras.saving.get_registered_name(type(each)))
    }

    def restore(value: Any, handed_on: bool) -> Any:
        """Put the function or object itself where it is handed on as the configuration has it."""
        if isinstance(value, types.FunctionType) and value.__name__ in objects:
            return objects[value.__name__]
        if type(value) in (list, tuple):
            return type(value)(restore(each, handed_on) for each in value)
        if type(value) is not dict:
            return value
        if handed_on and value.get("class_name") == "function":
            return objects.get(value["config"], value)
        if "class_name" in value:
            inner = value.get("registered_name") in plain
            return {key: restore(each, inner) for key, each in value.items()}
        return {key: restore(each, handed_on) for key, each in value.items()}

    return restore(config, _has_plain_from_config(type(layer))), objects


def _has_plain_from_config(kind: Any) -> bool:
    """Return whether a class of the user's own hands its configuration to ``__init__`` as it is."""
    function = getattr(kind.from_config, "__func__", None)
    return is_own_class(kind) and function is keras.Operation.from_config.__func__


def _describe_with_objects(layer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a layer's configuration, with the functions and objects themselves in it."""
    config = layer.get_config()
    held = {name: getattr(layer, name, None) for name in config}
    return {**config, **{name: value for name, value in held.items() if _is_own(value)}}, {}


def _describe_as_it_is(layer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return layer.get_config(), {}


def _make(thing: Any, kind: Any, config: dict[str, Any], objects: Mapping[str, Any]) -> Any:
    """Make a thing of a configuration, in which layers may be."""
    scope = {**names_in(thing), **objects}
    config = {key: _without_shapes(value) for key, value in config.items()}
    for key, value in config.items():
        if isinstance(value, keras.layers.Layer):
            name = f"fabricfit_object_{next(_numbers)}"
            scope[name], config[key] = value, _serialize_name(name)
    with keras.saving.custom_object_scope(scope):
        return kind.from_config(config)


def _without_shapes(value: Any) -> Any:
    """Return a part of a configuration without the shapes that layers were built for.

    The layer around them builds them, as it did before; Keras would have built them already.
    """
    if type(value) in (list, tuple):
        return type(value)(map(_without_shapes, value))
    if type(value) is not dict:
        return value
    described = "class_name" in value and "config" in value
    return {
        key: _without_shapes(each)
        for key, each in value.items()
        if not (described and key == "build_config")
    }


def _serialize_name(name: str) -> dict[str, Any]:
    """Return what Keras writes for a function of this name."""
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


def names_in(layer: Any) -> dict[str, Any]:
    """Return the classes and functions of the user's own in a layer, by all names they may go by."""
    held = [value for _, _, value in _iterate_attributes(layer) if _is_own(value)]
    found: dict[str, Any] = {}
    for thing in (*map(type, every_layer(layer)), *map(type, held), *held):
        name = getattr(thing, "__name__", "<lambda>")
        own = is_own_class(thing) if isinstance(thing, type) else True
        if own and name != "<lambda>" and not any(hasattr(each, name) for each in _BUILT_IN):
            found[name] = thing
            found[keras.saving.get_registered_name(thing)] = thing
    return found


def _iterate_attributes(layer: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield the attributes of a layer and those in it: whose, the name, the value.

    Methods that are replaced on the instance, as Keras does with ``build``, are left out.
    """
    for each in every_layer(layer):
        for name, value in vars(each).items():
            if not callable(getattr(type(each), name, None)):
                yield each, name, value


def _is_own(value: Any) -> bool:
    """Return whether a value is a function or a callable object that Keras may not find by its name."""
    known = type, keras.layers.Layer, keras.Variable, weakref.ref
    if not callable(value) or isinstance(value, known):
        return False
    if isinstance(value, types.MethodType):
        return not isinstance(value.__self__, keras.layers.Layer)
    if isinstance(value, types.FunctionType):
        library = (value.__module__ or "").split(".")[0]
        known_by_name = getattr(keras.activations, value.__name__, None) is value
        return not known_by_name and library not in _LIBRARIES[1:]
    return is_own_class(type(value))


def _make_stand_in(name: str, value: Any) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return value(*args, **kwargs)

    vars(stand_in).update(getattr(value, "__dict__", {}))
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _holds_the_same(new: Any, old: Any) -> bool:
    """Return whether two layers hold the same functions and objects of the user's own."""
    for copied, original in zip(every_layer(new), every_layer(old), strict=False):
        if type(copied) is not type(original):  # one that is made when the layer is called
            break
        for name, value in vars(original).items():
            hidden = callable(getattr(type(original), name, None))
            if _is_own(value) and not hidden and vars(copied).get(name) is not value:
                return False
    return True


def _explain(thing: Any, error: Exception) -> str:
    kind, is_layer = type(thing).__name__, isinstance(thing, keras.layers.Layer)
    what = f"{'layer ' if is_layer else ''}{thing.name!r} ({kind})"
    missing = isinstance(error, NotImplementedError)
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    why = "it has no get_config, or one that does not work" if missing else f"it says: {said}"
    return (
        f"{what} cannot be made anew from its configuration, and a copy of "
        f"{'the model' if is_layer else 'it'} is what is worked with; {why}. Give {kind} a get_config that "
        "returns every argument of its __init__, and a from_config where an argument is a layer or an object."
    )
