"""The hls4ml configuration that makes savings real.

hls4ml leaves out the multipliers of pruned weights only with ResourceUnrolled, and replaces much that it
cannot build by something else with no more than a line on the console. Here each layer is given by name
what is really built, and what would come out wrong is refused.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.strategies import canonical_strategy, spell_strategy
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.product import Product
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike
from fabricfit.hls4ml.pipelining import state_interval
from fabricfit.hls4ml.products import (
    hls4ml_attributes,
    product_of,
    realized_product,
    why_calls_differ,
)
from fabricfit.hls4ml.sections import find_key

__all__ = ["Realized", "realize_configuration"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Realized:
    """A configuration, and how it differs from the one that was given.

    Parameters
    ----------
    config
        For ``hls4ml.converters.convert_from_keras_model(model, hls_config=config)``. An ``'IOType'`` in
        it must be passed as ``io_type`` too.
    remarks
        What was changed, and what hls4ml makes of it that a user should know.
    """

    config: dict[str, Any]
    remarks: tuple[str, ...] = ()


def realize_configuration(
    attributes: Mapping[str, LayerAttributes],
    hls_config: Mapping[str, Any],
    target: TargetLike = DEFAULT_TARGET,
    as_asked: Container[str] = (),
) -> Realized:
    """Return the configuration with which hls4ml builds a model without its pruned multipliers.

    Parameters
    ----------
    attributes
        Layer -> attributes, with those of hls4ml, as the configuration describes the model.
    hls_config, target
        As for :func:`fabricfit.firmware.realize`, where it is said what changes, and what is refused.
    as_asked
        Names of the layers that keep the strategy that the configuration states, since that uses less.
    """
    config = copy.deepcopy(dict(hls_config))
    inner = config.get("HLSConfig", config)
    remarks = list(_remove_target_cycles(inner))
    named = inner.setdefault("LayerName", {})
    strategies, factors = set(), [1]
    for name, layer in attributes.items():
        if not layer.multiplies:
            continue
        product = (product_of if name in as_asked else realized_product)(layer, target)
        _refuse_wrong_code(name, product)
        if different := why_calls_differ(layer):
            raise InvalidInputError(
                f"layer {name!r} is called {len(layer.calls)} times, and {different}"
            )
        remarks += _list_remarks(layer, product, name in as_asked)
        strategies.add(product.strategy)
        factors.append(product.reuse_factor)
        for call in layer.calls:
            section = _copy_section(inner, call)
            section["Strategy"] = spell_strategy(product.strategy)
            if layer.layer_name == name:  # the kernels of others have one reuse factor together
                section["ReuseFactor"] = product.reuse_factor
            if product.convolution:
                section["ParallelizationFactor"] = hls4ml_attributes(call).parallelization_factor
            named[find_key(named, call.hls4ml_name) or call.hls4ml_name] = section
    if "resource_unrolled" in strategies and inner.get("Model"):
        # hls4ml pipelines a model as a whole only if no layer, with a kernel or without, says Resource.
        inner["Model"] |= {"Strategy": spell_strategy("resource_unrolled")}
        remarks += state_interval(config, attributes, max(factors))
    for remark in remarks:
        logger.info("%s", remark)
    return Realized(config, tuple(remarks))


def _refuse_wrong_code(name: str, product: Product) -> None:
    wrong = product.convolution and product.io_type == "io_parallel" and product.time_multiplexed
    if wrong and product.reuse_factor > product.n_in:
        raise InvalidInputError(
            f"layer {name!r}: with io_parallel, hls4ml computes a convolution wrongly at a "
            f"ReuseFactor above its {product.n_in} inputs, or its code stops. "
            f"Received: ReuseFactor={product.reuse_factor}. Use a divisor of {product.n_in}, or "
            "io_stream."
        )


def _list_remarks(layer: LayerAttributes, product: Product, as_asked: bool) -> Iterator[str]:
    name, asked = layer.name, canonical_strategy(hls4ml_attributes(layer).strategy)
    if as_asked:
        yield (
            f"layer {name!r} stays with plain Resource: with few multipliers to leave out it uses less than "
            "with ResourceUnrolled"
        )
        return
    if (asked, product.strategy) == ("resource", "resource_unrolled"):
        yield (
            f"layer {name!r} is to be built with ResourceUnrolled: plain Resource keeps multipliers "
            "for zeros"
        )
    if product.strategy == "resource" and product.time_multiplexed:
        yield (
            f"layer {name!r} keeps all its multipliers: hls4ml builds it with Resource, as it does "
            "convolutions where the model is io_parallel, and everything for Intel's FPGAs"
        )
    if product.strategy == "resource_unrolled" and product.reuse_factor > product.n_in:
        yield (
            f"layer {name!r}: with a reuse factor above its {product.n_in} inputs hls4ml limits the "
            "compiler less tightly than it could; see that the synthesis report has as many DSPs "
            "as were predicted"
        )


def _copy_section(inner: dict[str, Any], layer: LayerAttributes) -> dict[str, Any]:
    """Return the settings by which hls4ml builds a layer, those of its type or the model included.

    A section by name hides the others from some of hls4ml's look-ups, so it must hold what they said.
    """
    named = inner["LayerName"]
    key = find_key(named, layer.hls4ml_name)
    if key is not None and named[key] is not None:
        return dict(named[key])
    types = inner.get("LayerType") or {}
    key = find_key(types, layer.layer_type.__name__)
    return dict((types[key] if key is not None else None) or {})


def _remove_target_cycles(inner: dict[str, Any]) -> Iterator[str]:
    sections = [inner.get("Model"), *(inner.get("LayerName") or {}).values()]
    sections += (inner.get("LayerType") or {}).values()
    found = [section.pop("TargetCycles", None) for section in sections if section]
    if any(cycles is not None for cycles in found):
        yield "TargetCycles is left out, and the reuse factor stated that it was read with"
