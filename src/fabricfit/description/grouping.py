"""Kernel tensor <-> groups: the one definition behind masks, norms, regularizers and offsets.

A **group** is a set of weights that one piece of hardware serves, so that it is pruned or shared as a
whole. A :class:`Grouping` turns a kernel into a matrix of shape ``(n_groups, group_size)`` and back,
exactly. It uses only ``reshape``, ``transpose`` and ``pad``, which NumPy and ``keras.ops`` spell alike: pass
``xp=keras.ops`` and the same code runs inside a compiled training step.

The order of a pattern is the order in which hls4ml's Resource strategy stores a layer's weights: the
output axis first, then flattened. With a reuse factor RF, run *m* of RF consecutive weights is what
multiplier *m* handles over its RF cycles (``w_index = ir + m * RF`` in ``nnet_dense_resource.h``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fabricfit.checks import instance, whole_number, whole_numbers
from fabricfit.description.layout import Layout, standard_layout
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError, spell

__all__ = ["Grouping"]


@dataclass(frozen=True)
class Grouping:
    """One way of dividing a kernel into groups.

    Where a size does not divide, the kernel is padded at its edge: the last groups then have fewer
    members (see :attr:`member_counts`) and the padding is dropped again by :meth:`from_groups`.

    Parameters
    ----------
    shape
        Shape of the kernel: Dense ``(n_in, n_out)``, Conv2D ``(H, W, C, F)``.
    structure
        A :class:`~fabricfit.config.SUPPORTED_STRUCTURES` member or its value (``"pattern"``).
    pattern_offset
        Number of patterns, that is of multipliers: ``size / RF``. Used by ``PATTERN``.
    consecutive_patterns
        Neighbouring patterns that form one group, for example one block of memory words.
    block_shape
        Rows (inputs) and columns (outputs) of a block of the kernel seen as a matrix. Used by ``BLOCK``.
    layout
        Which axes are rows, columns and units. Without one the last axis makes the results, one for each
        unit.

    Raises
    ------
    InvalidInputError
        A size is not positive, or the kernel has too few axes for the structure.
    """

    shape: tuple[int, ...]
    structure: SUPPORTED_STRUCTURES = SUPPORTED_STRUCTURES.UNSTRUCTURED
    pattern_offset: int = 1
    consecutive_patterns: int = 1
    block_shape: tuple[int, int] = (1, 1)
    layout: Layout | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "shape", whole_numbers("shape", self.shape))
        set_(self, "structure", as_structure(self.structure))
        for name in ("pattern_offset", "consecutive_patterns"):
            set_(self, name, whole_number(name, getattr(self, name)))
        set_(self, "block_shape", whole_numbers("block_shape", self.block_shape))
        if len(self.block_shape) != 2:
            raise InvalidInputError(
                f"block_shape must be two numbers (rows, columns). Received: {self.block_shape}"
            )
        if self.layout is not None:
            instance("layout", self.layout, Layout)
        least = 1 if self.structure is SUPPORTED_STRUCTURES.UNSTRUCTURED else 2
        if self.layout is None and len(self.shape) < least:
            raise InvalidInputError(
                f"a {self.structure.value} grouping needs a kernel of at least {least} axes. "
                f"Received: shape={self.shape}"
            )
        if math.prod(self._layout.axes) != self.size:
            raise InvalidInputError(
                f"the layout is of other kernels than those of shape {self.shape}. "
                f"Received: {self.layout}"
            )

    @cached_property
    def size(self) -> int:
        """Number of weights in the kernel."""
        return math.prod(self.shape)

    @cached_property
    def pattern_length(self) -> int:
        """Weights in one pattern (the reuse factor, where ``pattern_offset = size / RF``)."""
        return -(-self.size // self.pattern_offset)

    @cached_property
    def _layout(self) -> Layout:
        return self.layout or standard_layout(self.shape)

    @cached_property
    def _matrix(self) -> tuple[int, int]:
        return self._layout.n_rows, self._layout.n_columns

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """Order of the layout's axes in which groups are consecutive."""
        match self.structure:
            case SUPPORTED_STRUCTURES.STRUCTURED:
                return self._layout.by_unit
            case SUPPORTED_STRUCTURES.PATTERN:
                return self._layout.by_result
            case _:
                return self._layout.by_input

    @cached_property
    def _blocks(self) -> tuple[int, int]:
        (n_in, n_out), (rows, columns) = self._matrix, self.block_shape
        return -(-n_in // rows), -(-n_out // columns)

    @cached_property
    def group_size(self) -> int:
        """Members of a full group."""
        match self.structure:
            case SUPPORTED_STRUCTURES.UNSTRUCTURED:
                return 1
            case SUPPORTED_STRUCTURES.STRUCTURED:
                return self.size // self._layout.n_units
            case SUPPORTED_STRUCTURES.PATTERN:
                return min(self.pattern_length * self.consecutive_patterns, self.size)
            case SUPPORTED_STRUCTURES.BLOCK:
                return math.prod(self.block_shape)

    @cached_property
    def n_groups(self) -> int:
        """Number of groups, each with at least one member."""
        if self.structure is SUPPORTED_STRUCTURES.BLOCK:
            return math.prod(self._blocks)
        return -(-self.size // self.group_size)

    @cached_property
    def is_exact(self) -> bool:
        """Whether every group is full, so that no padding is needed."""
        return self.n_groups * self.group_size == self.size

    @cached_property
    def member_counts(self) -> np.ndarray:
        """Real (not padded) members of each group, shape ``(n_groups,)``."""
        if self.is_exact:
            return np.full(self.n_groups, self.group_size)
        return self.to_groups(np.ones(self.shape, np.int64)).sum(axis=1)

    @property
    def consecutive_counts(self) -> np.ndarray:
        """Patterns in each group, shape ``(n_groups,)``; ones where the structure has no patterns."""
        if self.structure is SUPPORTED_STRUCTURES.PATTERN:
            return -(-self.member_counts // self.pattern_length)
        return np.ones(self.n_groups, np.int64)

    def to_groups(self, kernel: Any, xp: Any = np) -> Any:
        """Gather a kernel's weights by group.

        Parameters
        ----------
        kernel
            Array of shape :attr:`shape`.
        xp
            The array namespace that computes: ``numpy`` or ``keras.ops``.

        Returns
        -------
        array of shape ``(n_groups, group_size)``
            Zero where a group is padded.
        """
        if tuple(kernel.shape) != self.shape:
            raise InvalidInputError(
                f"this grouping is of kernels of shape {self.shape}. Received: {tuple(kernel.shape)}"
            )
        match self.structure:
            case SUPPORTED_STRUCTURES.UNSTRUCTURED:
                return xp.reshape(kernel, (self.size, 1))
            case SUPPORTED_STRUCTURES.BLOCK:
                (n_in, n_out), (rows, columns) = self._matrix, self.block_shape
                down, across = self._blocks
                matrix = self._layout.ordered(kernel, self._order, (n_in, n_out), xp)
                if not self.is_exact:
                    edge = ((0, down * rows - n_in), (0, across * columns - n_out))
                    matrix = xp.pad(matrix, edge)
                blocks = xp.reshape(matrix, (down, rows, across, columns))
                return xp.reshape(xp.transpose(blocks, (0, 2, 1, 3)), (-1, self.group_size))
            case _:
                flat = self._layout.ordered(kernel, self._order, (self.size,), xp)
                if not self.is_exact:
                    flat = xp.pad(flat, ((0, self.n_groups * self.group_size - self.size),))
                return xp.reshape(flat, (self.n_groups, self.group_size))

    def from_groups(self, groups: Any, xp: Any = np) -> Any:
        """Put grouped weights back in their places: the exact inverse of :meth:`to_groups`.

        Parameters
        ----------
        groups
            Array of shape ``(n_groups, group_size)``; what stands in the padding is ignored.
        xp
            The array namespace that computes: ``numpy`` or ``keras.ops``.

        Returns
        -------
        array of shape :attr:`shape`
        """
        if tuple(groups.shape) != (self.n_groups, self.group_size):
            raise InvalidInputError(
                f"groups must have the shape {(self.n_groups, self.group_size)}. "
                f"Received: {tuple(groups.shape)}"
            )
        match self.structure:
            case SUPPORTED_STRUCTURES.UNSTRUCTURED:
                return xp.reshape(groups, self.shape)
            case SUPPORTED_STRUCTURES.BLOCK:
                (n_in, n_out), (rows, columns) = self._matrix, self.block_shape
                down, across = self._blocks
                blocks = xp.reshape(groups, (down, across, rows, columns))
                matrix = xp.reshape(
                    xp.transpose(blocks, (0, 2, 1, 3)), (down * rows, across * columns)
                )
                return self._layout.restored(matrix[:n_in, :n_out], self._order, self.shape, xp)
            case _:
                flat = xp.reshape(groups, (self.n_groups * self.group_size,))[: self.size]
                return self._layout.restored(flat, self._order, self.shape, xp)

    def spread(self, per_group: Any, xp: Any = np) -> Any:
        """Give every weight its group's number.

        Parameters
        ----------
        per_group
            Array of shape ``(n_groups,)``.
        xp
            The array namespace that computes: ``numpy`` or ``keras.ops``.

        Returns
        -------
        array of shape :attr:`shape`
        """
        column = xp.reshape(per_group, (self.n_groups, 1))
        return self.from_groups(xp.broadcast_to(column, (self.n_groups, self.group_size)), xp)

    def means(self, kernel: Any, xp: Any = np) -> Any:
        """Mean weight of every group, shape ``(n_groups,)``; padding does not count."""
        sums = xp.sum(self.to_groups(kernel, xp), axis=1)
        if self.is_exact:
            return sums / self.group_size
        return (
            sums / xp.cast(self.member_counts, sums.dtype)
            if xp is not np
            else (sums / self.member_counts)
        )


def as_structure(value: SUPPORTED_STRUCTURES | str) -> SUPPORTED_STRUCTURES:
    """Return the structure that a member or its lower-case value names."""
    try:
        return SUPPORTED_STRUCTURES(value)
    except Exception:  # of several kinds, for what has no hash, or no single truth value
        names = ", ".join(repr(member.value) for member in SUPPORTED_STRUCTURES)
        raise InvalidInputError(
            f"structure must be one of {names}, or a member of SUPPORTED_STRUCTURES. "
            f"Received: {spell(value)}"
        ) from None
