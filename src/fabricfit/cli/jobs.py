"""Runs as configurations describe them: from a configuration to a result, without printing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabricfit.cli.budgets import budget_of
from fabricfit.cli.configuration import RunConfig, dump, read_hls4ml
from fabricfit.cli.inputs import load_data, load_model
from fabricfit.cli.sections import LevelsConfig, TrainingConfig
from fabricfit.cli.sources import import_plugins
from fabricfit.errors import InvalidInputError
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.fpga_luts import BitOperations
from fabricfit.objectives.fpga_units import UnitResources
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator
from fabricfit.run.files import CONFIGURATION
from fabricfit.scheduler import BinaryScheduler, ConstantScheduler, PolynomialScheduler

__all__ = ["optimize"]

_OBJECTIVES: dict[str | None, Any] = {
    "parameters": ParameterEstimator,
    "flops": GPUFLOPEstimator,
    "bit_operations": BitOperations,
    "dsp": VivadoDSPEstimator,
    "unit_dsp": UnitResources(("dsp",)),
}


def optimize(
    config: RunConfig, *, resume: bool = False, directory: str | None = None, verbose: bool = True
) -> Any:
    """Run the optimization that a configuration describes.

    Parameters
    ----------
    config
        The run.
    resume
        Resume the run if it was interrupted.
    directory
        Folder of the run, or the one in which it makes its own; the configuration's by default.
    verbose
        Show the progress.

    Returns
    -------
    OptimizationResult
    """
    import_plugins(config.plugins)
    model = load_model(config.model, config.weights)
    train, validation = load_data(config.data)
    settings = _make_settings(
        model, config.training, directory or config.directory, resume, verbose
    )
    text = dump(config)
    is_given = config.precision == "given" or config.hls4ml is not None
    hls_config = read_hls4ml(config.hls4ml) if is_given else {}
    if config.budget is not None:
        import fabricfit

        return fabricfit.fit(
            model,
            train,
            validation,
            budget_of(config.budget),
            settings,
            hls_config=hls_config,
            scheduler=None if config.levels is None else _make_scheduler(config),
            documents={CONFIGURATION: text},
            precision=None if config.precision == "chosen" else config.precision,
            designs=config.designs,
            granularity=config.granularity,
            saturating=config.saturating,
            overflow=config.overflow,
        )
    return _optimize_objective(config, model, hls_config, train, validation, settings, text)


def _optimize_objective(
    config: RunConfig,
    model: Any,
    hls_config: Mapping[str, Any],
    train: Any,
    validation: Any,
    settings: Any,
    text: str,
) -> Any:
    import fabricfit
    from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config

    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, hls_config)
    return fabricfit.optimize(
        model,
        attributes,
        _OBJECTIVES[config.objective],
        _make_scheduler(config),
        train,
        validation,
        settings,
        documents={CONFIGURATION: text},
    )


def _make_settings(
    model: Any, training: TrainingConfig, directory: str | None, resume: bool, verbose: bool
) -> Any:
    from fabricfit.optimization.settings import OptimizationSettings

    values = training.model_dump(exclude={"optimizer", "learning_rate", "loss", "metric"})
    if values["regularization_range"] is None:
        del values["regularization_range"]
    if directory is not None:
        values["directory"] = directory
    return OptimizationSettings(
        **values,
        optimizer=_make_optimizer(model, training),
        loss_fn=training.loss,
        validation_metric=training.metric,
        resume=resume,
        verbose=verbose,
    )


def _make_optimizer(model: Any, training: TrainingConfig) -> Any:
    """Return the optimizer that is named or that the model has; None for that of the model as it is."""
    import keras

    name, rate = training.optimizer, training.learning_rate
    if name is None and rate is None:
        return None
    try:
        held = getattr(model, "optimizer", None) or "adam"
        optimizer = keras.optimizers.get(held if name is None else name)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"training.optimizer must be the name of a Keras optimizer. Received: {name!r}"
        ) from error
    if rate is None:
        return optimizer
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})


def _make_scheduler(config: RunConfig) -> Any:
    levels = config.levels or LevelsConfig()
    ends = levels.initial, levels.final
    if levels.schedule == "binary":
        return BinaryScheduler(*ends)
    if levels.schedule == "constant":
        step = (levels.final - levels.initial) / levels.steps
        return ConstantScheduler(*ends, step or 1.0)
    return PolynomialScheduler(levels.steps, *ends)
