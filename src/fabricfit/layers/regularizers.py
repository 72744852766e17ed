r"""Regularizers that draw the weights of a group together: towards zero, or towards each other.

.. math::

    \Omega(W) = \alpha \sum_g \lVert w_g \rVert_p + \beta \sum_g \operatorname{var}(w_g)

over the groups g of the kernel; with p = 2 the first term is the group lasso of Yuan and Lin (2006), as
used for networks by Wen et al. (2016), arXiv:1608.03665.

Importing this module registers the classes with Keras under the package name ``fabricfit``, so that a
model that still carries them can be saved and loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from fabricfit.description.grouping import Grouping, as_structure
from fabricfit.description.layout import Layout
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = [
    "Conv2DRegularizer",
    "DenseRegularizer",
    "GroupRegularizer",
    "group_norms",
    "group_variances",
]


@keras.saving.register_keras_serializable(package="fabricfit")
class GroupRegularizer(keras.regularizers.Regularizer):
    """Penalty on the norms and on the spreads of groups of weights.

    Parameters
    ----------
    alpha
        Weight of the norms, at least 0: larger pushes more groups to zero.
    beta
        Weight of the variances, at least 0: larger makes the weights of a group more alike.
    norm
        Order of the norm, 1 or 2.
    structure_type
        How the kernel is cut into groups: a member of SUPPORTED_STRUCTURES or its value.
    block_shape, pattern_offset, consecutive_patterns
        Shape of the groups, see :class:`fabricfit.description.grouping.Grouping`.
    base
        A regularizer whose penalty is added: the one that the layer had before.
    layout
        Which axes of the kernel are rows, columns and units, if not the standard ones: a
        :class:`fabricfit.description.layout.Layout` or its fields.
    """

    def __init__(
        self,
        alpha: float,
        beta: float = 0,
        norm: int = 1,
        structure_type: SUPPORTED_STRUCTURES | str = SUPPORTED_STRUCTURES.UNSTRUCTURED,
        block_shape: tuple[int, int] = (1, 1),
        pattern_offset: int = 1,
        consecutive_patterns: int = 1,
        *,
        base: Any = None,
        layout: Layout | Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 <= float(value) < float("inf"):
                raise InvalidInputError(
                    f"{name} must be a finite number of at least 0. Received: {name}={spell(value)}"
                )
        if norm not in (1, 2):
            raise InvalidInputError(f"norm must be 1 or 2. Received: norm={spell(norm)}")
        base = keras.regularizers.get(base)
        if base is not None and not callable(base):
            raise InvalidTypeError(f"base must be a regularizer or None. Received: {spell(base)}")
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.norm = int(norm)
        self.structure_type = as_structure(structure_type)
        self.block_shape = (int(block_shape[0]), int(block_shape[1]))
        self.pattern_offset = int(pattern_offset)
        self.consecutive_patterns = int(consecutive_patterns)
        self.base = base
        if isinstance(layout, Mapping):
            layout = Layout(**{name: tuple(axes) for name, axes in layout.items()})
        self.layout = layout

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of a kernel, a scalar."""
        grouping = Grouping(
            tuple(weights.shape),
            self.structure_type,
            self.pattern_offset,
            self.consecutive_patterns,
            self.block_shape,
            self.layout,
        )
        penalty = ops.zeros((), weights.dtype)
        if self.base is not None:
            penalty = penalty + self.base(weights)
        if self.alpha:
            penalty = penalty + self.alpha * group_norms(weights, grouping, self.norm)
        if self.beta:
            penalty = penalty + self.beta * group_variances(weights, grouping)
        return penalty

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain strings and numbers, safe for JSON."""
        config: dict[str, Any] = {
            "alpha": self.alpha,
            "beta": self.beta,
            "norm": self.norm,
            "structure_type": self.structure_type.value,
            "block_shape": list(self.block_shape),
            "pattern_offset": self.pattern_offset,
            "consecutive_patterns": self.consecutive_patterns,
        }
        if self.base is not None:
            config["base"] = keras.regularizers.serialize(self.base)
        if self.layout is not None:
            config["layout"] = {name: list(axes) for name, axes in vars(self.layout).items()}
        return config


@keras.saving.register_keras_serializable(package="fabricfit")
class DenseRegularizer(GroupRegularizer):
    """:class:`GroupRegularizer` for kernels of shape ``(n_in, n_out)``."""


@keras.saving.register_keras_serializable(package="fabricfit")
class Conv2DRegularizer(GroupRegularizer):
    """:class:`GroupRegularizer` for kernels of shape ``(H, W, C, F)``.

    Parameters
    ----------
    alpha, beta, norm, structure_type, pattern_offset, consecutive_patterns, base, layout
        As for :class:`GroupRegularizer`.
    block_shape
        Rows (of height × width × channels) and columns (filters) of a block.
    """

    def __init__(
        self,
        alpha: float,
        beta: float = 0,
        norm: int = 1,
        structure_type: SUPPORTED_STRUCTURES | str = SUPPORTED_STRUCTURES.UNSTRUCTURED,
        pattern_offset: int = 1,
        consecutive_patterns: int = 1,
        *,
        block_shape: tuple[int, int] = (1, 1),
        base: Any = None,
        layout: Layout | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            alpha,
            beta,
            norm,
            structure_type,
            block_shape,
            pattern_offset,
            consecutive_patterns,
            base=base,
            layout=layout,
        )


def group_norms(weights: Any, grouping: Grouping, norm: int = 1) -> Any:
    """Return the sum of the groups' norms, a scalar."""
    if norm == 1 or grouping.group_size == 1:  # the groups add up to the whole
        return ops.sum(ops.abs(weights))
    squares = ops.sum(ops.square(grouping.to_groups(weights, ops)), axis=1)
    # The square root has no gradient at zero, where pruned groups are.
    alive = squares > 0
    return ops.sum(ops.where(alive, ops.sqrt(ops.where(alive, squares, 1.0)), 0.0))


def group_variances(weights: Any, grouping: Grouping) -> Any:
    """Return the sum of the groups' variances, padding left out, a scalar."""
    if grouping.group_size == 1:
        return ops.zeros((), weights.dtype)
    groups = grouping.to_groups(weights, ops)
    if grouping.is_exact:
        return ops.sum(ops.var(groups, axis=1))
    counts = ops.cast(grouping.member_counts, groups.dtype)
    means = ops.sum(groups, axis=1) / counts
    return ops.sum(ops.sum(ops.square(groups), axis=1) / counts - ops.square(means))
