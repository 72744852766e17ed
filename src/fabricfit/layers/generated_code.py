"""The matrix products that hls4ml's generated code has for a layer, and where to find them in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ConvolutionProduct", "EinsumProduct", "Extent", "GeneratedProduct", "product_of_node"]


@dataclass(frozen=True)
class Extent:
    """How large a product is.

    Parameters
    ----------
    size
        Weights, those that are zero included.
    copies
        Output positions that are computed at once, each by a copy of the product.
    """

    size: int
    copies: int = 1


@dataclass(frozen=True)
class GeneratedProduct:
    """A matrix product of a layer in the generated code.

    Parameters
    ----------
    node
        The layer's node in hls4ml's graph.
    key
        What it is called in reports: the node's name, with ``'/kernel'`` behind it where a node has several.
    struct
        Its structure in ``parameters.h``: it has ``n_in``, ``n_out``, ``reuse_factor``, ``n_zeros`` and
        ``kernel``.
    weight
        The node's name for its weights.
    counts_constants
        Whether weights that are constants in the logic are counted in the file of weights.
    """

    node: Any
    key: str
    struct: str
    weight: str = "weight"
    counts_constants: bool = True

    @property
    def layer_struct(self) -> str:
        """The structure of the whole layer."""
        return f"config{self.node.index}"

    def extent(self, product: Mapping[str, int], layer: Mapping[str, int]) -> Extent:
        """Return how large the product is, given the numbers in its structure and in the layer's."""
        return Extent(product["n_in"] * product["n_out"])

    def n_results(self, product: Mapping[str, int]) -> int:
        """Return how many results there are for each position."""
        return product.get("n_out", 0)


@dataclass(frozen=True)
class ConvolutionProduct(GeneratedProduct):
    """A dense layer or a convolution, perhaps at several positions at once.

    Parameters
    ----------
    axes
        Numbers in the layer's structure that are the lengths of the kernel's axes. The product's own numbers
        are others where pointwise layers compute all positions at once, by a diagonal of kernels.
    """

    axes: tuple[str, ...] = ("filt_height", "filt_width", "n_chan", "n_filt")

    def extent(self, product: Mapping[str, int], layer: Mapping[str, int]) -> Extent:
        """See :meth:`GeneratedProduct.extent`."""
        if self.struct == self.layer_struct:
            return super().extent(product, layer)
        return Extent(math.prod(layer.get(n, 1) for n in self.axes), self._positions_at_once(layer))

    def n_results(self, product: Mapping[str, int]) -> int:
        """See :meth:`GeneratedProduct.n_results`."""
        return int(self.node.get_attr("n_out") or self.node.get_attr("n_filt"))

    def _positions_at_once(self, layer: Mapping[str, int]) -> int:
        if self.node.model.config.get_config_value("IOType") == "io_stream":
            return 1
        positions = layer.get("out_height", 1) * layer["out_width"]
        return positions // layer["n_partitions"]


def product_of_node(node: Any, structs: Mapping[str, str]) -> tuple[ConvolutionProduct, ...]:
    """Return the only product of a dense layer or a convolution."""
    inner = f"config{node.index}_mult"
    struct = inner if inner in structs else f"config{node.index}"
    return (ConvolutionProduct(node, node.name, struct),)


@dataclass(frozen=True)
class EinsumProduct(GeneratedProduct):
    """An einsum: products side by side, each with weights of its own."""

    def extent(self, product: Mapping[str, int], layer: Mapping[str, int]) -> Extent:
        """See :meth:`GeneratedProduct.extent`."""
        size = product["n_in"] * product["n_out"] * layer["n_inplace"]
        return Extent(size, min(layer["n_free_data"], layer["parallelization_factor"]))
