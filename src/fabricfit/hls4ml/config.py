"""Reading an hls4ml configuration as hls4ml itself reads it.

A value is looked up under the layer's name, then its type, then the model; names are compared
without regard to case. What hls4ml would silently replace (a reuse factor that it cannot build,
ResourceUnrolled where it does not apply) is replaced here too, with a warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fabricfit.checks import instance, whole_number
from fabricfit.description.attributes import LayerAttributes, hls4mlAttributes
from fabricfit.description.precision import Precision, parse_precision
from fabricfit.description.strategies import (
    SHARED_MULTIPLIERS,
    canonical_strategy,
    check_io_type,
    spell_strategy,
)
from fabricfit.errors import InvalidInputError, warn_caller
from fabricfit.hls4ml.checking import LARGEST_FACTOR
from fabricfit.hls4ml.plain import ConfigurationLike, plain_configuration
from fabricfit.hls4ml.reuse_factor import (
    ReuseFactorWarning,
    built_reuse_factor,
    effective_strategy,
    legal_parallelization_factor,
)
from fabricfit.hls4ml.sections import find_key, stated_io_type
from fabricfit.hls4ml.vocabulary import ACTIVATIONS

__all__ = [
    "default_configuration",
    "leaves_result_open",
    "read_hls4ml_attributes",
    "read_io_type",
    "read_opened",
    "read_precisions",
    "stated_strategy",
]

logger = logging.getLogger(__name__)

_BY_GRAPH = "distributed_arithmetic"


def read_hls4ml_attributes(
    config: ConfigurationLike, layer_attributes: LayerAttributes
) -> hls4mlAttributes:
    """Return what an hls4ml configuration means for one layer with a kernel.

    Parameters
    ----------
    config
        What ``hls4ml.utils.config_from_keras_model`` returns at any granularity, or a whole
        project's configuration with that under ``'HLSConfig'``, or a file of either. It is not changed. An
        ``'IOType'`` beside ``'Model'`` or ``'HLSConfig'`` is read; without one it is ``'io_parallel'``.
    layer_attributes
        The layer; its ``quantizer_precision``, if any, is what a weight precision of
        ``'auto'`` stands for. Without it, and for results, ``'auto'`` stands for the model's
        default.

    Returns
    -------
    hls4mlAttributes
        With the strategy, reuse factor and parallelization factor that hls4ml would really use.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        The configuration, or a section, is no dictionary; or a key is missing, or not what hls4ml can build.

    Warns
    -----
    ReuseFactorWarning
        hls4ml replaces the reuse or parallelization factor, derives it from ``TargetCycles``, or
        builds the layer wrongly with it.
    """
    instance("layer_attributes", layer_attributes, LayerAttributes)
    return read_opened(plain_configuration(config), layer_attributes)


def read_opened(config: Mapping[str, Any], layer_attributes: LayerAttributes) -> hls4mlAttributes:
    """Return what :func:`read_hls4ml_attributes` does, of a configuration that is plain data already."""
    layer = _LayerConfig.of(config, layer_attributes)
    name, shape = layer_attributes.name, layer_attributes.weight_shape
    if len(shape) < 2:
        raise InvalidInputError(
            f"layer {name!r} has no kernel of two or more axes that hls4ml could multiply by. "
            f"Received: weight_shape={shape}"
        )
    n_in, n_out = layer_attributes.matrix_shape
    asked = layer.whole_number("ReuseFactor")
    strategy = layer.strategy
    instead = layer_attributes.built_instead
    built = effective_strategy(strategy, asked, layer.io_type, layer.is_convolution, instead)
    if built != canonical_strategy(strategy):
        used_instead = spell_strategy(built)
        logger.info("hls4ml builds layer %r with %s, not with %s.", name, used_instead, strategy)
        strategy = used_instead
    used = built_reuse_factor(n_in, n_out, asked, built, layer_attributes.reuse_shape)
    for warning in _list_reuse_warnings(layer, n_in, asked, used, built):
        warn_caller(f"layer {name!r}: {warning}", ReuseFactorWarning)
    return hls4mlAttributes(
        n_in,
        n_out,
        layer.io_type,
        strategy,
        layer.weight_precision,
        layer.output_precision,
        used,
        _read_parallelization_factor(layer),
        input_precision=layer.input_precision,
        accumulator_precision=layer.stated_precision("accum"),
        bias_precision=layer.stated_precision("bias"),
    )


def read_precisions(
    config: Mapping[str, Any], layer_attributes: LayerAttributes
) -> tuple[Precision | None, Precision | None]:
    """Return the number formats of what a layer receives and of its results, as far as they are stated.

    Parameters
    ----------
    config
        A configuration that is plain data already.
    layer_attributes
        Any layer.
    """
    layer = _LayerConfig.of(config, layer_attributes)
    try:
        result = layer.output_precision
    except InvalidInputError:
        result = None
    return layer.input_precision, result


def default_configuration() -> dict[str, Any]:
    """Return what hls4ml uses where it is given no configuration."""
    return {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


def read_io_type(config: Mapping[str, Any]) -> str:
    """Return the ``'IOType'`` of a configuration or of a whole project's, ``'io_parallel'`` without one.

    Raises
    ------
    InvalidInputError
        It is neither ``'io_parallel'`` nor ``'io_stream'``.
    """
    return check_io_type(stated_io_type(config, "io_parallel"), "config['IOType']")


def leaves_result_open(config: Mapping[str, Any], layer_attributes: LayerAttributes) -> bool:
    """Tell whether hls4ml chooses the number format of a layer's results (``'auto'``).

    Only then does it fold a batch normalization behind the layer into its weights.
    """
    layer = _LayerConfig.of(config, layer_attributes)
    return _is_auto(_find_precision(layer.sections, "result")[0])


def stated_strategy(config: Mapping[str, Any], layer_attributes: LayerAttributes) -> str:
    """Return the strategy that a configuration states for a layer, which hls4ml may replace."""
    return canonical_strategy(_LayerConfig.of(config, layer_attributes).strategy)


@dataclass(frozen=True)
class _LayerConfig:
    """The sections of a configuration that speak of one layer, the most specific first."""

    attributes: LayerAttributes
    hls_config: Mapping[str, Any]
    sections: dict[str, Mapping[str, Any]]
    io_type: str

    @classmethod
    def of(cls, config: Mapping[str, Any], attributes: LayerAttributes) -> _LayerConfig:
        hls_config = config.get("HLSConfig", config)
        io_type = read_io_type(config)
        sections = {}
        for kind, key in (
            ("LayerName", attributes.hls4ml_name),
            ("LayerType", attributes.layer_type.__name__),
        ):
            sections.update(_find_section(hls_config, kind, key))
        if hls_config.get("Model") is not None:
            sections["config['Model']"] = hls_config["Model"]
        return cls(attributes, hls_config, sections, io_type)

    def find(self, key: str) -> tuple[Any, str]:
        """Return the value of a key and the section that holds it, or ``(None, '')``."""
        for where, section in self.sections.items():
            if section.get(key) is not None:
                return section[key], where
        return None, ""

    def whole_number(self, key: str) -> int:
        """Return a number of at least 1 that must be there."""
        value, where = self.find(key)
        if value is None:
            raise InvalidInputError(
                f"the hls4ml configuration has no {key!r} for layer {self.attributes.name!r}, "
                "neither under 'LayerName' or 'LayerType' nor under 'Model'."
            )
        return _read_factor(value, f"{where}[{key!r}]", self.attributes.name)

    @cached_property
    def strategy(self) -> str:
        value, where = self.find("Strategy")
        if value is None:
            return "Latency"
        try:
            canonical_strategy(value)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{where}['Strategy'], for layer {self.attributes.name!r}: {error}"
            ) from None
        return value

    @cached_property
    def is_convolution(self) -> bool:
        """Whether hls4ml makes it a convolution, as it does with a Dense layer on several axes."""
        return self.attributes.is_convolution

    def instead(self, key: str, asked: int, used: int) -> str:
        """Say what hls4ml uses instead of a factor that it cannot build."""
        pointwise = self.is_convolution and set(self.attributes.weight_shape[:-2]) <= {1}
        if pointwise and self.find(key)[1].startswith("config['LayerName']"):
            return (
                f"hls4ml cannot build {key}={asked}, yet keeps it for pointwise layers where it is "
                f"set by the layer's name. Set it to {used}, which is what groups follow here."
            )
        return f"hls4ml cannot build {key}={asked} and uses {used} instead."

    @cached_property
    def weight_precision(self) -> Precision:
        value, where = _find_precision(self.sections, self.attributes.weight_name)
        if _is_auto(value) and self.attributes.quantizer_precision is not None:
            return self.attributes.quantizer_precision
        return self._parse_precision(value, where, "weight")

    @cached_property
    def output_precision(self) -> Precision:
        return self._parse_precision(*_find_precision(self.sections, "result"), "result")

    @cached_property
    def input_precision(self) -> Precision | None:
        """Number format of the layer that feeds this one, where the configuration states it.

        What a layer makes inside itself has the format of its results.
        """
        if self.attributes.multiplies_inner:
            return self.output_precision
        sources = [*self.attributes.inbound_layers, *self.attributes.input_layers]
        if len(sources) != 1:
            return None
        inbound = str(sources[0])
        sections = _find_producer_section(self.hls_config, inbound)
        if not sections and self.hls_config.get("LayerType"):
            return None
        if "config['Model']" in self.sections:
            sections = {**sections, "config['Model']": self.sections["config['Model']"]}
        value, where = _find_precision(sections, "result")
        return (
            None
            if value is None or _is_auto(value)
            else self._parse_precision(value, where, "result")
        )

    def stated_precision(self, what: str) -> Precision | None:
        """Return a precision that the configuration states; None for ``'auto'`` and for none."""
        value, where = _find_precision(self.sections, what)
        return (
            None if value is None or _is_auto(value) else self._parse_precision(value, where, what)
        )

    def _parse_precision(self, value: Any, where: str, what: str) -> Precision:
        if _is_auto(value):
            value, where = _find_precision({"config['Model']": self._model_section}, "default")
        name = self.attributes.name
        if value is None:
            raise InvalidInputError(
                f"the hls4ml configuration has no {what} 'Precision' for layer {name!r}, and "
                "config['Model']['Precision'] names no 'default'."
            )
        try:
            return parse_precision(value)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{where}['Precision'], {what} of layer {name!r}: {error}"
            ) from None

    @property
    def _model_section(self) -> Mapping[str, Any]:
        return self.sections.get("config['Model']", {})


def _list_reuse_warnings(
    layer: _LayerConfig, n_in: int, asked: int, used: int, built: str
) -> list[str]:
    """Say where the reuse factor that was asked for is not what is built."""
    by_graph = canonical_strategy(layer.strategy) == _BY_GRAPH
    # hls4ml stops at it for convolutions of each channel too, which it builds with Latency.
    if by_graph and asked != 1 and (built == _BY_GRAPH or layer.is_convolution):
        raise InvalidInputError(
            f"layer {layer.attributes.name!r} has the strategy 'distributed_arithmetic', with "
            f"which hls4ml builds a ReuseFactor of 1 only. Received: ReuseFactor={asked}. Use 1, or "
            "'Resource' or 'ResourceUnrolled', which share multipliers."
        )
    if built not in SHARED_MULTIPLIERS:
        return []
    found = []
    if used != asked:
        found.append(layer.instead("ReuseFactor", asked, used))
    if layer.find("TargetCycles")[0] is not None:
        found.append(
            "hls4ml derives the reuse factor from 'TargetCycles', which is not read here. "
            f"State the reuse factor that it arrives at; {used} is used."
        )
    if layer.is_convolution and layer.io_type == "io_parallel" and used > n_in:
        found.append(
            f"with io_parallel, hls4ml computes a convolution wrongly, or stops, at a reuse factor "
            f"above its {n_in} inputs. Received: ReuseFactor={used}"
        )
    return found


def _read_parallelization_factor(layer: _LayerConfig) -> int:
    """Return the output positions that are computed at once; 1 for anything but convolutions."""
    own = {where: s for where, s in layer.sections.items() if where != "config['Model']"}
    # hls4ml looks into the model's section only where the layer has none of its own.
    sections = own or layer.sections
    key, name = "ParallelizationFactor", layer.attributes.name
    value, where = next(((s[key], w) for w, s in sections.items() if s.get(key)), (1, ""))
    asked = _read_factor(value, f"{where}[{key!r}]", name)
    positions = layer.attributes.output_shape[:-1]
    if not layer.is_convolution:
        return 1
    if not positions or None in positions:
        return asked
    used = legal_parallelization_factor(math.prod(int(n or 1) for n in positions), asked)
    if used != asked:
        warn_caller(f"layer {name!r}: {layer.instead(key, asked, used)}", ReuseFactorWarning)
    return used


def _find_producer_section(
    hls_config: Mapping[str, Any], inbound: str
) -> dict[str, Mapping[str, Any]]:
    """Return the section of the layer that feeds another, or its activation's if it has one."""
    for key in hls_config.get("LayerName") or {}:
        layer, _, activation = str(key).lower().partition(f"{inbound.lower()}_")
        if not layer and activation in ACTIVATIONS:
            return _find_section(hls_config, "LayerName", key)
    return _find_section(hls_config, "LayerName", inbound)


def _find_section(
    hls_config: Mapping[str, Any], kind: str, wanted: str
) -> dict[str, Mapping[str, Any]]:
    named = hls_config.get(kind) or {}
    key = find_key(named, wanted)
    if key is None:
        return {}
    where = f"config[{kind!r}][{key!r}]"
    return {where: named[key]}


def _find_precision(sections: Mapping[str, Mapping[str, Any]], what: str) -> tuple[Any, str]:
    """Look a precision up: what is asked for, then the section's default, then the next section."""
    for where, section in sections.items():
        precision = section.get("Precision")
        if isinstance(precision, Mapping):
            found = [precision[key] for key in (what, "default") if precision.get(key) is not None]
            if found:
                return found[0], where
        elif precision is not None:
            return precision, where
    return None, ""


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() == "auto"


def _read_factor(value: Any, where: str, layer: str) -> int:
    """Return a reuse or parallelization factor, also where a file has it as a text."""
    try:
        return whole_number(where, value, most=LARGEST_FACTOR, texts=True)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}, for layer {layer!r}") from None
