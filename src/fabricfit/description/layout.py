"""Which axes of a kernel are summed over and which make results: any kernel as a matrix product.

A dense kernel is a matrix already. Those of transposed convolutions have their axes in another order, those
of recurrent layers hold several gates in one axis, those of an einsum are whatever its equation says. A
:class:`Layout` tells where rows, columns and units are, so that everything else need not know the layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fabricfit.checks import whole_number, whole_numbers
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = ["Layout", "standard_layout"]


@dataclass(frozen=True)
class Layout:
    """The axes of a kernel, by what they are for.

    Parameters
    ----------
    axes
        Lengths of the kernel's axes, one that holds two things split in two: ``(n_in, gates, units)`` for a
        kernel of shape ``(n_in, gates · units)``.
    rows
        Axes that are summed over, in the order in which hls4ml stores weights.
    columns
        Axes that make results, in the order in which hls4ml stores weights.
    units
        Those of the columns that tell units: what is removed as one. Other columns, such as gates, belong
        to each unit.

    Raises
    ------
    InvalidInputError
        An axis is missing, or is named twice.
    """

    axes: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    units: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("axes", "rows", "columns", "units"):
            if not isinstance(getattr(self, name), tuple | list):
                raise InvalidTypeError(
                    f"{name} of a layout must be a tuple of numbers. "
                    f"Received: {name}={spell(getattr(self, name))}"
                )
        whole_numbers("axes", self.axes)
        places = [whole_number("an axis", each, 0) for each in (*self.rows, *self.columns)]
        if sorted(places) != list(range(len(self.axes))) or not set(self.units) <= set(
            self.columns
        ):
            raise InvalidInputError(
                "each axis of a layout must be a row or a column, and units must be columns. "
                f"Received: {self}"
            )

    @property
    def n_rows(self) -> int:
        """Inputs of the matrix product."""
        return self._length(self.rows)

    @property
    def n_columns(self) -> int:
        """Results of the matrix product."""
        return self._length(self.columns)

    @property
    def n_units(self) -> int:
        """Units, each of one or more columns."""
        return self._length(self.units)

    @property
    def by_result(self) -> tuple[int, ...]:
        """Order of the axes in which hls4ml stores weights: result after result."""
        return (*self.columns, *self.rows)

    @property
    def by_input(self) -> tuple[int, ...]:
        """Order of the axes that makes the matrix of rows and columns."""
        return (*self.rows, *self.columns)

    @property
    def by_unit(self) -> tuple[int, ...]:
        """Order of the axes that puts all weights of a unit together."""
        rest = [axis for axis in self.by_result if axis not in self.units]
        return (*self.units, *rest)

    def ordered(self, kernel: Any, order: tuple[int, ...], shape: tuple[int, ...], xp: Any) -> Any:
        """Return a kernel's weights with the axes in another order, in some shape.

        Parameters
        ----------
        kernel
            Array of as many numbers as the axes have.
        order
            One of :attr:`by_result`, :attr:`by_input` and :attr:`by_unit`.
        shape
            Of what is returned.
        xp
            The array namespace that computes: ``numpy`` or ``keras.ops``.
        """
        if tuple(kernel.shape) != self.axes:
            kernel = xp.reshape(kernel, self.axes)
        if order != tuple(range(len(order))):
            kernel = xp.transpose(kernel, order)
        return xp.reshape(kernel, shape)

    def restored(
        self, weights: Any, order: tuple[int, ...], shape: tuple[int, ...], xp: Any
    ) -> Any:
        """Undo :meth:`ordered`; ``shape`` is the kernel's."""
        kernel = xp.reshape(weights, tuple(self.axes[axis] for axis in order))
        if order != tuple(range(len(order))):
            back = sorted(range(len(order)), key=order.__getitem__)
            kernel = xp.transpose(kernel, tuple(back))
        return kernel if tuple(kernel.shape) == shape else xp.reshape(kernel, shape)

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        """Return a kernel as its matrix of rows and columns."""
        shape = (self.n_rows, self.n_columns)
        matrix: np.ndarray = self.ordered(kernel, self.by_input, shape, np)
        return matrix

    def kernel(self, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undo :meth:`matrix`, for a kernel of this shape."""
        kernel: np.ndarray = self.restored(matrix, self.by_input, shape, np)
        return kernel

    def scaled_columns(self, kernel: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Return a kernel whose columns are multiplied by a factor each, in the order of the units."""
        axes = [self.axes[axis] if axis in self.columns else 1 for axis in range(len(self.axes))]
        if len(factors) != self.n_columns:  # one for each unit, whose other columns go along
            axes = [self.axes[axis] if axis in self.units else 1 for axis in range(len(self.axes))]
        scaled: np.ndarray = kernel.reshape(self.axes) * np.reshape(factors, axes)
        return scaled.reshape(kernel.shape)

    def _length(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.axes[axis] for axis in axes)


@lru_cache(maxsize=1024)
def standard_layout(shape: tuple[int, ...]) -> Layout:
    """Return the layout of a kernel whose last axis makes the results, one for each unit."""
    last = len(shape) - 1
    return Layout(shape, tuple(range(last)), (last,), (last,))
