# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Fully connected layers: kernel ``(n_in, n_out)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.layers.family import register_layer
from fabricfit.layers.generated_code import GeneratedProduct, product_of_node
from fabricfit.layers.matrix_form import LastAxisForm, MatrixForm
from fabricfit.layers.product import ProductFamily
from fabricfit.layers.regularizers import DenseRegularizer
from fabricfit.layers.scaling import scale_columns, scale_rows
from fabricfit.layers.units import Replacement

__all__ = ["DenseFamily"]


@register_layer
class DenseFamily(ProductFamily):
    """``keras.layers.Dense``, on inputs of any rank."""

    handles: tuple[type | str, ...] = (keras.layers.Dense,)
    regularizer = DenseRegularizer
    folds_normalization = True
    hls4ml_nodes = ("Dense",)

    def matrix_form(self, layer: Any) -> MatrixForm | None:
        return LastAxisForm()

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        return scale_columns(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        return scale_rows(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        return product_of_node(node, structs)
