"""Masked training: an engine for each backend, its data, and what it trains with."""

from fabricfit.keras.training.checks import check_against_model
from fabricfit.keras.training.data import Data, Dataset, Stream, open_data
from fabricfit.keras.training.distillation import Distilled, taught
from fabricfit.keras.training.engine import Engine, EngineState, make_engine
from fabricfit.keras.training.ingredients import (
    fresh_metric,
    fresh_optimizer,
    is_builtin,
    mean_loss,
    resolve_loss,
)
from fabricfit.keras.training.penalty import Penalty
from fabricfit.keras.training.phases import Phase, TrainingDivergedError, better, train
from fabricfit.keras.training.projection import Projection

__all__ = [
    "Data",
    "Dataset",
    "Distilled",
    "Engine",
    "EngineState",
    "Penalty",
    "Phase",
    "Projection",
    "Stream",
    "TrainingDivergedError",
    "better",
    "check_against_model",
    "fresh_metric",
    "fresh_optimizer",
    "is_builtin",
    "make_engine",
    "mean_loss",
    "open_data",
    "resolve_loss",
    "taught",
    "train",
]
