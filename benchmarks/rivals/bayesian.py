"""KerasTuner's Bayesian tuner, also where TensorBoard is not installed."""

from __future__ import annotations

from typing import Any

import keras_tuner

__all__ = ["BayesianOptimization"]


class BayesianOptimization(keras_tuner.BayesianOptimization):
    """The tuner without its look for TensorBoard callbacks, of which there are none here.

    On TensorFlow that look imports TensorBoard, which TensorFlow no longer installs.
    """

    def _configure_tensorboard_dir(self, *args: Any, **options: Any) -> None:
        """Do nothing."""
