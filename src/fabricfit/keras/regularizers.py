"""Regularizers of groups of weights, under their historical name."""

from fabricfit.layers.regularizers import Conv2DRegularizer, DenseRegularizer, GroupRegularizer

__all__ = ["Conv2DRegularizer", "DenseRegularizer", "GroupRegularizer"]
