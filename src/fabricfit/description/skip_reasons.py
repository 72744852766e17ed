"""Reasons for which layers are not optimized."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Skip", "SkipReason"]


class SkipReason(Enum):
    """The kind of reason for which a layer is not optimized; the sentence beside it has the details."""

    NO_WEIGHTS = "no_weights"
    """The layer has no weights."""

    FROZEN = "frozen"
    """The layer, or its kernel, is not trainable."""

    UNKNOWN_LAYER = "unknown_layer"
    """The layer is of no registered family with kernels."""

    UNSUPPORTED_LAYER = "unsupported_layer"
    """The layer's family refuses it, for an option that it was made with."""

    NOT_FINITE = "not_finite"
    """The kernel holds NaN or infinite weights."""

    NO_KERNEL = "no_kernel"
    """Nothing in the layer is multiplied by weights that could be grouped."""

    NOTHING_TO_SAVE = "nothing_to_save"
    """The objective saves nothing there, as the layer is built."""

    MODEL_OUTPUT = "model_output"
    """The layer's units are outputs of the model."""

    TRAINS_BITS = "trains_bits"
    """The layer's weights train bit widths of their own, so that they cannot share values."""

    NO_TREATMENT = "no_treatment"
    """The objective allows neither pruning nor weight sharing."""

    SINGLE_WEIGHTS = "single_weights"
    """Groups of one weight have nothing to share."""

    UNKNOWN_UNITS = "unknown_units"
    """It is not known which units of other layers are coupled with the layer's."""

    FOLDED = "folded"
    """The layer, a normalization, is part of the layers around it."""

    UNITS_NEEDED = "units_needed"
    """All of the layer's units have to be kept."""


@dataclass(frozen=True)
class Skip:
    """Why a layer is not optimized.

    Parameters
    ----------
    reason
        The kind of reason.
    sentence
        The reason in words.
    """

    reason: SkipReason
    sentence: str
