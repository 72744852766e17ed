"""Formats in hls4ml's configuration: what it states already is kept, and the rest is added by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from fabricfit.description.precision import FixedPrecision, fixed_point, parse_precision
from fabricfit.errors import InvalidInputError
from fabricfit.hls4ml.sections import find_key
from fabricfit.network.node_names import NamedCall
from fabricfit.network.reader import Network

__all__ = ["Statements"]

_USUAL_SOFTMAX = FixedPrecision(18, 8)
"""What hls4ml itself writes into a configuration for the sums of a softmax: nobody stated it."""


@dataclass
class Statements:
    """What is stated of the layers of a network, by hls4ml's names.

    Parameters
    ----------
    network
        The network.
    given
        An opened configuration. It is not changed.
    """

    network: Network
    given: Mapping[str, Any]
    _types: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for named in self.network.node_names.calls:
            self._types |= _types_of(named)

    def find(self, node: str, key: str) -> FixedPrecision | None:
        """Return the format that the configuration states; None where it leaves it open, or says ``'auto'``.

        Raises
        ------
        InvalidInputError
            It is no fixed-point format.
        """
        text = self._find_text(node, key)
        if text is None or text.strip().lower() == "auto":
            return None
        where = f"the {key} precision of {node!r}"
        try:
            found = fixed_point(parse_precision(text), where)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{where} must be a fixed-point format to be kept by fabricfit.calibrate: {error}"
            ) from None
        usual = found == _USUAL_SOFTMAX and self._types.get(node) == "Softmax"
        return None if usual else found

    @staticmethod
    def read(text: str) -> FixedPrecision:
        """Return a format that was stated as a text."""
        return fixed_point(parse_precision(text))

    def option(self, node: str, key: str) -> Any:
        """Return another value of a layer's own section or of its type's, None where there is none."""
        for section in self._sections(node):
            for each, value in section.items():
                if each.replace("_", "").lower() == key.replace("_", "").lower():
                    return value
        return None

    def with_formats(
        self, formats: Mapping[tuple[str, str], str], options: Mapping[tuple[str, str], Any]
    ) -> dict[str, Any]:
        """Return a configuration that states more.

        Parameters
        ----------
        formats
            Layer and kind of number -> its format, where none is stated.
        options
            Layer and key -> its value, where none is stated.
        """
        config = copy.deepcopy(dict(self.given))
        inner = config.get("HLSConfig", config)
        sections = inner.setdefault("LayerName", {})
        shared = inner.get("Model", {}).get("ParallelizationFactor")
        for (node, key), text in formats.items():
            if self.find(node, key) is not None:
                continue
            if node not in sections and shared is not None and not self._sections(node):
                sections[node] = {"ParallelizationFactor": shared}
            section = sections.setdefault(node, {})
            before = section.get("Precision") or {}
            if not isinstance(before, dict):
                before = {"default": before}
            section["Precision"] = {**before, key: text}
        for (node, key), value in options.items():
            if self.option(node, key) is None:
                sections.setdefault(node, {})[key] = value
        return config

    def _sections(self, node: str) -> list[Mapping[str, Any]]:
        inner = self.given.get("HLSConfig", self.given)
        found = []
        for kind, name in (("LayerName", node), ("LayerType", self._types.get(node, ""))):
            named = inner.get(kind) or {}
            key = find_key(named, name)
            if key is not None:
                found.append(named[key])
        return found

    def _find_text(self, node: str, key: str) -> str | None:
        for section in self._sections(node):
            precision = section.get("Precision")
            if isinstance(precision, Mapping):
                for each in (key, "default"):
                    if precision.get(each) is not None:
                        return str(precision[each])
            elif precision is not None:
                return str(precision)
        return None


def _types_of(named: NamedCall) -> dict[str, str]:
    """Return hls4ml's names of what it builds of a call, and their types."""
    layer = named.call.layer
    found = {named.node: type(layer).__name__}
    if isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.softmax:
        found[named.node] = "Softmax"
    if named.activation:
        softmax = named.activation.endswith("_softmax")
        found[named.activation] = "Softmax" if softmax else "Activation"
    return found
