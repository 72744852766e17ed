"""Count of the multiplications in the C++ that hls4ml wrote, layer by layer.

ResourceUnrolled writes every product out, so its statements are counted and sorted by the multiplier
that handles them. The other strategies loop over all weights; for them the numbers in the layer's
configuration structure count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError
from fabricfit.firmware.emulation.fixed import FixedTensor, Format
from fabricfit.hardware.dsp import latency_dsp
from fabricfit.layers import family_of_node
from fabricfit.layers.generated_code import GeneratedProduct

__all__ = ["MultiplicationCount", "count_multiplications"]

_STRUCT = re.compile(r"^struct (\w+)(?: : nnet::\w+)? \{\n(.*?)^\};", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"static const unsigned (\w+) = (\d+);")
_KERNEL = re.compile(r"using kernel = ([\w:]+)<")
_UNROLLED = re.compile(r"^class dense_resource_unrolled_(\w+) :.*?^\};", re.DOTALL | re.MULTILINE)
_CYCLE = re.compile(r"^\s*M(\d+): \{")
_PRODUCT = re.compile(
    r"acc\[(\d+)\] \+= static_cast<.*::product\(data\[(\d+)\], weights\[(\d+)\]\)\);$"
)
_LIMIT = re.compile(r"ALLOCATION operation instances=mul limit=(-?\d+)")


@dataclass(frozen=True)
class MultiplicationCount:
    """Multiplications of one layer in the generated code.

    Parameters
    ----------
    strategy
        The strategy that is built: ``'latency'``, ``'resource'``, ``'resource_unrolled'`` or
        ``'distributed_arithmetic'``.
    reuse_factor
        The reuse factor that is built.
    copies
        Output positions that are computed at once.
    multipliers
        Multipliers of all copies: with Resource one for each run of RF weights, with ResourceUnrolled
        one for each run of which a product is written, with Latency one for each weight that is not
        zero, with distributed arithmetic none.
    products
        Products of one copy that are computed for one output position.
    limit
        Multipliers of one copy that the code allows the compiler; ``None`` where it does not say.
    constants
        Where every weight is a constant (Latency, and Resource at a reuse factor of 1): those in the
        generated file of weights that need a multiplier, see :class:`fabricfit.hardware.Work`, of all
        copies. ``None`` elsewhere.
    """

    strategy: str
    reuse_factor: int
    copies: int
    multipliers: int
    products: int
    limit: int | None = None
    constants: int | None = None


def count_multiplications(hls_model: Any) -> dict[str, MultiplicationCount]:
    """Count the multiplications of every dense layer and convolution of a written project.

    Parameters
    ----------
    hls_model
        A converted model whose project has been written, by hls4ml's Vivado or Vitis backend.

    Returns
    -------
    dict
        Layer -> count, in the order of computation; a layer of two products has ``'<layer>/kernel'`` and
        ``'<layer>/recurrent_kernel'``, one of two directions ``'<layer>/forward/kernel'`` and so on. Layers
        without products are not in it.

    Raises
    ------
    FabricFitError
        The project was not written, or its code is not of the form that hls4ml 1.3 writes.
    """
    firmware = Path(hls_model.config.get_output_dir()) / "firmware"
    try:
        parameters = (firmware / "parameters.h").read_text(encoding="utf-8")
        written_out = (firmware / "nnet_utils" / "nnet_code_gen.h").read_text(encoding="utf-8")
    except OSError as error:
        raise FabricFitError(f"the hls4ml project in {firmware} cannot be read: {error}") from error
    structs = {match[1]: match[2] for match in _STRUCT.finditer(parameters)}
    unrolled = {match[1]: match[0] for match in _UNROLLED.finditer(written_out)}
    found = {}
    for node in hls_model.get_layers():
        for product in _products(node, structs):
            count = _count(product, structs, unrolled)
            numbers = _numbers(structs.get(product.struct, ""))
            found[product.key] = _with_constants(count, product, numbers, firmware / "weights")
    return found


def _products(node: Any, structs: dict[str, str]) -> tuple[GeneratedProduct, ...]:
    family = family_of_node(node.class_name)
    return family.generated_products(node, structs) if family is not None else ()


def _count(
    product: GeneratedProduct, structs: dict[str, str], unrolled: dict[str, str]
) -> MultiplicationCount:
    node = product.node
    if node.get_attr("strategy") == "distributed_arithmetic":
        return MultiplicationCount("distributed_arithmetic", 1, 1, 0, 0)
    inner = structs.get(product.struct)
    kernel = _KERNEL.search(inner or "")
    if inner is None or kernel is None:
        raise FabricFitError(
            f"hls4ml wrote no product {product.struct!r} for layer {node.name!r} ({node.class_name}) into "
            "parameters.h: its backend has no code for the layer, or is not that of hls4ml 1.3, which "
            "fabricfit reads."
        )
    numbers = _numbers(inner)
    reuse_factor = numbers["reuse_factor"]
    extent = product.extent(numbers, _numbers(structs.get(product.layer_struct, "")))
    size, copies = extent.size, extent.copies
    function = kernel[1].rpartition("::")[2]
    if function.startswith(("DenseLatency", "DepthwiseDenseLatency")):
        # hls4ml states no zeros of an einsum in groups, whose dense layer has one kernel after the other.
        nonzeros = size - numbers.get("n_zeros", int(node.get_weights(product.weight).nzeros))
        return MultiplicationCount("latency", reuse_factor, copies, nonzeros * copies, nonzeros)
    if function.startswith(("DenseResource", "DepthwiseDenseResource")):
        multipliers = -(-size // reuse_factor)
        return MultiplicationCount(
            "resource", reuse_factor, copies, multipliers * copies, size, multipliers
        )
    code = unrolled.get(function.removeprefix("dense_resource_unrolled_"))
    if code is None:
        raise FabricFitError(
            f"layer {node.name!r} is computed by {function!r}, which is not among the functions that "
            "fabricfit reads. It reads the code of hls4ml 1.3."
        )
    return _count_unrolled(node.name, code, numbers["n_in"], reuse_factor, copies)


def _numbers(struct: str) -> dict[str, int]:
    return {name: int(value) for name, value in _NUMBER.findall(struct)}


def _with_constants(
    count: MultiplicationCount, product: GeneratedProduct, numbers: dict[str, int], weights: Path
) -> MultiplicationCount:
    """Count the constants that need a multiplier in the weights as hls4ml wrote them."""
    by_constants = count.strategy == "latency" or (
        count.strategy == "resource" and count.reuse_factor == 1
    )
    node = product.node
    if not by_constants or not product.counts_constants:
        return count
    variable = node.get_weights(product.weight)
    text = (weights / f"{variable.name}.h").read_text(encoding="utf-8")
    written = text.partition("= {")[2].partition("}")[0]
    values = np.array([float(number) for number in written.split(",")])
    matrix = FixedTensor.from_float(values, Format.of(variable.type.precision)).values
    n_out = product.n_results(numbers)
    matrix = (
        matrix.reshape(n_out, -1).T if count.strategy == "resource" else matrix.reshape(-1, n_out)
    )
    return replace(count, constants=latency_dsp(matrix) * count.copies)


def _count_unrolled(
    name: str, code: str, n_in: int, reuse_factor: int, copies: int
) -> MultiplicationCount:
    """Sort the written products by multiplier: run ``m`` of RF weights, one in each cycle."""
    served: set[int] = set()
    products, cycle = 0, -1
    for line in code.splitlines():
        opened = _CYCLE.match(line)
        if opened:
            cycle = int(opened[1])
        found = _PRODUCT.search(line)
        if not found:
            continue
        output, row, weight = map(int, found.groups())
        if (weight % reuse_factor, weight % n_in, weight // n_in) != (cycle, row, output):
            raise FabricFitError(
                f"layer {name!r}: weight {weight} meets input {row} and output {output} in cycle "
                f"{cycle} of the generated code, which is not the order that groups follow. "
                "fabricfit follows hls4ml 1.3."
            )
        served.add(weight // reuse_factor)
        products += 1
    limit = _LIMIT.search(code)
    return MultiplicationCount(
        "resource_unrolled",
        reuse_factor,
        copies,
        len(served) * copies,
        products,
        int(limit[1]) if limit else None,
    )
