"""Configurations checked: every key and every section must mean something to hls4ml.

hls4ml passes over a key that it does not know and a section that fits no layer, without a word.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.checks import number, whole_number
from fabricfit.description.precision import parse_precision
from fabricfit.description.strategies import canonical_strategy, check_io_type, spell_strategy
from fabricfit.errors import InvalidInputError, ask_for_nearest, spell, unknown_name
from fabricfit.hls4ml.sections import find_key
from fabricfit.hls4ml.vocabulary import (
    BECOMES,
    CHOICES,
    FLAGS,
    HELPER_TYPES,
    LAYER_KEYS,
    MODEL_KEYS,
    NUMBERS,
    PRECISIONS,
    PROJECT_KEYS,
    SECTIONS,
    SOFTMAX_STRATEGIES,
)

__all__ = [
    "ConfigurableLayer",
    "ConfigurationWarning",
    "check_values",
    "find_unused_sections",
    "spell_sections",
]

LARGEST_FACTOR = 2**31 - 1
"""The largest factor that the C++ of every compiler holds as a number."""

_FLOATS = ("float", "double", "half", "bfloat16", "ap_float", "ac_float", "ac_std_float", "std_")


class ConfigurationWarning(UserWarning):
    """A configuration states something that has no effect on what hls4ml builds."""


@dataclass(frozen=True)
class ConfigurableLayer:
    """What of a layer a configuration may speak of.

    Parameters
    ----------
    kind
        Name of its class.
    names
        Names that hls4ml gives to what it builds of the layer, and names that it gave it in older versions.
    known
        Whether its type is known, so that keys of its section can be checked: hls4ml's own plug-ins may read
        further ones.
    open_ended
        Whether hls4ml may make further layers of it, named after it.
    """

    kind: str
    names: tuple[str, ...]
    known: bool = True
    open_ended: bool = False


def check_values(config: dict[str, Any], layers: Collection[ConfigurableLayer] = ()) -> None:
    """Check the keys and values of a plain configuration, and spell them as hls4ml does, in place.

    Parameters
    ----------
    config
        The configuration.
    layers
        The layers of the model that it is for.

    Raises
    ------
    InvalidInputError
        A key is not known, or hls4ml could not read a value; the message suggests the nearest.
    """
    inner = config.get("HLSConfig", config)
    _check_outer_keys(config)
    for section in (config, inner):
        if section.get("IOType") is not None:
            check_io_type(section["IOType"], "config['IOType']")
    if inner.get("Model"):
        _check_section(inner["Model"], "config['Model']", MODEL_KEYS)
    foreign = [layer for layer in layers if not layer.known]
    theirs = {name.lower() for layer in foreign for name in (layer.kind, *layer.names)}
    for kind in ("LayerName", "LayerType"):
        for name, section in inner.get(kind, {}).items():
            where, free = f"config[{kind!r}][{name!r}]", name.lower() in theirs
            _check_section(section, where, (*LAYER_KEYS, *(section if free else ())))


def _check_outer_keys(config: Mapping[str, Any]) -> None:
    """Refuse what stands beside the sections and looks like a misspelt or misplaced key.

    Of a whole project's configuration, which has many keys, only those are looked at that are read here.
    """
    places: list[tuple[Mapping[str, Any], str, Collection[str]]] = [(config, "config", SECTIONS)]
    if "HLSConfig" in config:
        places = [
            (config, "config", ("HLSConfig", "IOType")),
            (config["HLSConfig"], "config['HLSConfig']", SECTIONS),
        ]
    for section, where, known in places:
        for key in section.keys() - set(known):
            if key in MODEL_KEYS and key not in PROJECT_KEYS:
                raise InvalidInputError(
                    f"{where} has the key {key!r}, which hls4ml looks for under 'Model', or under the "
                    f"name or type of a layer. Received: {key}={spell(section[key])}"
                )
            if key in ("Model", "LayerName", "LayerType"):
                raise InvalidInputError(
                    f"{where} has the key {key!r} beside 'HLSConfig', under which it belongs."
                )
            if key not in PROJECT_KEYS and (nearest := ask_for_nearest(key, known)):
                raise InvalidInputError(f"{where} has the unknown key {key!r}{nearest}")
            # A section of another name is a plug-in's, and a project holds what its backend knows.
            foreign = key not in PROJECT_KEYS and known == SECTIONS
            if foreign and not isinstance(section[key], dict | None):
                raise InvalidInputError(
                    f"{where} has the key {spell(key)}, which hls4ml does not read. It reads "
                    f"{', '.join(known)}; a plug-in may read a dictionary of its own"
                )


def _check_section(section: dict[str, Any], where: str, known: Collection[str]) -> None:
    types = {_snake(name) for name in (*PRECISIONS, *(f"{name}_t" for name in PRECISIONS))}
    attributes = {_snake(key) for key in known} - {_snake(key) for key in MODEL_KEYS}
    for key, value in section.items():
        if key not in known:
            # hls4ml takes attributes of layers, their types among them, in either spelling.
            if _snake(key) in attributes or (key.lower().endswith("t") and _snake(key) in types):
                continue
            raise InvalidInputError(
                f"{where} has the key {key!r}, which hls4ml does not read"
                f"{ask_for_nearest(key, known) or '. It reads ' + ', '.join(known)}"
            )
        section[key] = _checked(key, value, f"{where}[{key!r}]")


def _checked(key: str, value: Any, where: str) -> Any:
    """Return a value as hls4ml spells it."""
    if value is None:
        return None
    if key in NUMBERS:
        return whole_number(where, value, most=LARGEST_FACTOR, texts=True)
    if key == "BramFactor":
        return value if number(where, value, least=0, infinite=True) == math.inf else int(value)
    if key in FLAGS:
        if isinstance(value, bool) or (type(value) is int and value in (0, 1)):
            return value
        raise InvalidInputError(f"{where} must be true or false. Received: {spell(value)}")
    if key == "Precision":
        return _checked_precisions(value, where)
    if key in CHOICES:
        return _choose(value, CHOICES[key], where)
    if key == "Strategy":
        if isinstance(value, str) and value.lower() in SOFTMAX_STRATEGIES:
            return value
        try:
            canonical_strategy(value)
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from None
        return spell_strategy(value)
    return value


def _choose(value: Any, known: Collection[str], where: str) -> str:
    for each in known:
        if isinstance(value, str) and value.lower() == each.lower():
            return each
    raise unknown_name(where, value, known)


def _checked_precisions(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _checked_precision(value, where)
    found = {}
    for key, each in value.items():
        if key not in PRECISIONS:
            raise InvalidInputError(
                f"{where} has the key {key!r}, of which hls4ml has no precision"
                f"{ask_for_nearest(key, PRECISIONS) or '. It has those of ' + ', '.join(PRECISIONS)}"
            )
        if each is not None:
            found[key] = _checked_precision(each, f"{where}[{key!r}]")
    return found


def _checked_precision(value: Any, where: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    lower = text.lower()
    if lower == "auto" or lower.startswith(_FLOATS):
        return lower
    try:
        parse_precision(text if text else value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error}") from None
    kind, opened, fields = text.partition("<")
    return f"{kind.strip().lower()}{opened}{fields}"


def spell_sections(config: dict[str, Any], layers: Collection[ConfigurableLayer]) -> None:
    """Spell the names of sections as the model spells those of its layers, in place.

    Raises
    ------
    InvalidInputError
        Two sections are of the same layer.
    """
    inner = config.get("HLSConfig", config)
    spelled = {name.lower(): name for layer in reversed([*layers]) for name in layer.names}
    exact = {name for layer in layers for name in layer.names}
    sections = inner.get("LayerName", {})
    for name in list(sections):
        wanted = name if name in exact else spelled.get(name.lower(), name)
        if wanted != name:
            if wanted in sections:
                raise InvalidInputError(
                    f"config['LayerName'] has sections {wanted!r} and {name!r}, which are of the same layer: "
                    "keep one of them."
                )
            sections[wanted] = sections.pop(name)


def find_unused_sections(
    config: Mapping[str, Any], layers: Collection[ConfigurableLayer]
) -> Iterator[str]:
    """Return a sentence for each section that fits no layer of a model, with the nearest that there is.

    Parameters
    ----------
    config
        A plain configuration.
    layers
        The layers of the model.
    """
    inner = config.get("HLSConfig", config)
    names = [name for layer in layers for name in layer.names]
    own = [layer.names[0] for layer in layers]
    for name in inner.get("LayerName", {}):
        known = any(name.lower() == each.lower() for each in names) or any(
            name.lower().startswith(f"{layer.names[0].lower()}_")
            for layer in layers
            if layer.open_ended
        )
        if not known:
            # A name inside the other is nearer than any that is spelled alike.
            inside = [each for each in own if each and each.lower() in name.lower()]
            nearest = (
                f". Did you mean {max(inside, key=len)!r}?"
                if inside
                else ask_for_nearest(name, own) or f". Its layers are {', '.join(map(repr, own))}"
            )
            yield f"config['LayerName'][{name!r}] is the name of no layer of the model{nearest}"
    kinds = list(dict.fromkeys(layer.kind for layer in layers))
    types = {*HELPER_TYPES, *(kind for each in kinds for kind in _become(each))}
    any_type = any(layer.open_ended for layer in layers)
    for name in inner.get("LayerType", {}):
        nearest = ask_for_nearest(name, kinds)
        if find_key(dict.fromkeys(types), name) is None and (nearest or not any_type):
            nearest = nearest or f". It has {', '.join(map(repr, kinds))}"
            yield f"config['LayerType'][{name!r}] is the type of no layer of the model{nearest}"


def _become(kind: str) -> Iterator[str]:
    """Yield the names that hls4ml may give to the type of a layer."""
    yield kind
    plain = kind.removeprefix("Q")
    yield plain
    for beginning, others in BECOMES.items():
        if plain.startswith(beginning):
            ends = [plain[-2:]] if plain[-2:] in ("1D", "2D") else ["1D", "2D"]
            yield from (f"{other}{end}" for other in others for end in ends)
    if plain in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Dot"):
        yield "Merge"


def _snake(name: str) -> str:
    return (
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_").replace("__", "_")
    )
