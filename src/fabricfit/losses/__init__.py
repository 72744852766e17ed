"""Losses and metrics of models: what Keras would make of their descriptions, one output at a time."""

from fabricfit.losses.labels import check_labels, label_check
from fabricfit.losses.metric import ModelMetric, check_metrics, fresh_metric, is_builtin
from fabricfit.losses.model_loss import ModelLoss, check_loss_weights, check_losses
from fabricfit.losses.resolve import (
    function_of,
    is_sparse,
    options_of,
    resolve_loss,
    separate_samples,
)

__all__ = [
    "ModelLoss",
    "ModelMetric",
    "check_labels",
    "check_loss_weights",
    "check_losses",
    "check_metrics",
    "fresh_metric",
    "function_of",
    "is_builtin",
    "is_sparse",
    "label_check",
    "options_of",
    "resolve_loss",
    "separate_samples",
]
