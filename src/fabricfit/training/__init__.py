"""Masked training: an engine for each backend, and what it trains with."""

from fabricfit.training.backends import make_engine
from fabricfit.training.checks import check_against_model
from fabricfit.training.distillation import DistillationLoss, add_teacher_outputs
from fabricfit.training.engine import Engine, EngineState
from fabricfit.training.fine_tuning import StretchOutcome, TrainingDivergedError, better, train
from fabricfit.training.penalty import Penalty
from fabricfit.training.projection import Projection
from fabricfit.training.resolve import fresh_optimizer

__all__ = [
    "DistillationLoss",
    "Engine",
    "EngineState",
    "Penalty",
    "Projection",
    "StretchOutcome",
    "TrainingDivergedError",
    "add_teacher_outputs",
    "better",
    "check_against_model",
    "fresh_optimizer",
    "make_engine",
    "train",
]
