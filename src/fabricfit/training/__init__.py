"""Masked training: an engine for each backend, its data, and what it trains with."""

from fabricfit.training.checks import check_against_model
from fabricfit.training.data import Data, Dataset, Stream, open_data
from fabricfit.training.distillation import DistillationLoss, add_teacher_outputs
from fabricfit.training.engine import Engine, EngineState, make_engine
from fabricfit.training.fine_tuning import StretchOutcome, TrainingDivergedError, better, train
from fabricfit.training.penalty import Penalty
from fabricfit.training.projection import Projection
from fabricfit.training.resolve import (
    fresh_metric,
    fresh_optimizer,
    is_builtin,
    mean_loss,
)

__all__ = [
    "Data",
    "Dataset",
    "DistillationLoss",
    "Engine",
    "EngineState",
    "Penalty",
    "Projection",
    "Stream",
    "StretchOutcome",
    "TrainingDivergedError",
    "add_teacher_outputs",
    "better",
    "check_against_model",
    "fresh_metric",
    "fresh_optimizer",
    "is_builtin",
    "make_engine",
    "mean_loss",
    "open_data",
    "train",
]
