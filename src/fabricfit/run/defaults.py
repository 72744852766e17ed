"""Defaults of a run: the settings in Python, the command line's and the searches' refer to these."""

from __future__ import annotations

from typing import Final

import numpy as np

LEVELS = 5
"""Levels on the way to a budget."""

REWINDING_EPOCHS = 1
"""Epochs without masks between two levels."""

CUTOFF_BAD_TRIALS = 1
"""Levels in a row that may fail before the run ends."""

PATIENCE = 2
"""Epochs without a gain after which the training of a level ends."""

TUNER: Final = None
"""The search for regularization strengths: none that is not asked for."""

TRIALS = 10
"""Choices of regularization strengths that a search tries."""

REGULARIZATION_RANGE: list[float] = np.logspace(-6, -2, num=16).tolist()
"""Regularization strengths to choose from: 16 from 1e-6 to 1e-2, evenly in the logarithm."""

KNAPSACK_SOLVER = "CBC_MIP"
"""The historical name of the best exact solver."""

MINIMUM_GROUPS = 1
"""Groups that are kept in every layer."""

SEED = 0
"""Seed of everything random."""

RECALIBRATION = 0
"""Samples from which batch normalizations take their statistics anew; 0 for none."""

COMPENSATION = 0
"""Samples of the optimal-brain-surgeon update; 0 for none."""

DISTILLATION = 0.0
"""Weight of the teacher's outputs in the loss."""

TEMPERATURE = 2.0
"""Temperature of distillation."""

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints within a stretch of training."""
