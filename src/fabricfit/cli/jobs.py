"""Runs as configurations describe them: from a configuration to a result, without printing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabricfit.cli.configuration import RunConfig, dump, read_config, read_hls4ml
from fabricfit.cli.inputs import import_plugins, load_data, load_model
from fabricfit.cli.sections import BudgetConfig, LevelsConfig, TrainingConfig
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hardware.resource_records import amount_names
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.fpga_luts import BitOperations
from fabricfit.objectives.fpga_units import UnitResources
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator
from fabricfit.run.files import CONFIGURATION
from fabricfit.scheduler import BinaryScheduler, ConstantScheduler, PolynomialScheduler

__all__ = ["CONFIGURATION", "budget_of", "optimize", "resume_directory"]

_OBJECTIVES: dict[str | None, Any] = {
    "parameters": ParameterEstimator,
    "flops": GPUFLOPEstimator,
    "bit_operations": BitOperations,
    "dsp": VivadoDSPEstimator,
    "unit_dsp": UnitResources(("dsp",)),
}

_TIMING = ("clock", "clock_ns", "latency", "interval")
_BUILT = ("tool", "binding", "stage")


def budget_of(config: BudgetConfig) -> Budget:
    """Return the budget that a section describes."""
    timing, built = (
        {name: value for name in names if (value := getattr(config, name)) is not None}
        for names in (_TIMING, _BUILT)
    )
    if config.device is not None:
        found = Budget.device(config.device, config.fraction, **timing, **built)
    elif config.relative:
        limits = {**timing, **config.relative}
        found = Budget.relative(family=config.family or DEFAULT_FAMILY, **limits)
    else:
        amounts: dict[str, Any] = {name: getattr(config, name, None) for name in amount_names()}
        found = Budget(family=config.family or DEFAULT_FAMILY, **timing, **built, **amounts)
    return found.with_margin(config.margin)


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
    settings = _make_settings(config.training, directory or config.directory, resume, verbose)
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
    training: TrainingConfig, directory: str | None, resume: bool, verbose: bool
) -> Any:
    import keras

    from fabricfit.optimization.settings import OptimizationSettings

    values = training.model_dump(exclude={"optimizer", "learning_rate", "loss", "metric"})
    if values["regularization_range"] is None:
        del values["regularization_range"]
    if directory is not None:
        values["directory"] = directory
    try:
        optimizer = keras.optimizers.get(training.optimizer)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"training.optimizer must be the name of a Keras optimizer. Received: {training.optimizer!r}"
        ) from error
    if training.learning_rate is not None:
        changed = {**optimizer.get_config(), "learning_rate": training.learning_rate}
        optimizer = type(optimizer).from_config(changed)
    return OptimizationSettings(
        **values,
        optimizer=optimizer,
        loss_fn=training.loss,
        validation_metric=training.metric,
        resume=resume,
        verbose=verbose,
    )


def _make_scheduler(config: RunConfig) -> Any:
    levels = config.levels or LevelsConfig()
    ends = levels.initial, levels.final
    if levels.schedule == "binary":
        return BinaryScheduler(*ends)
    if levels.schedule == "constant":
        step = (levels.final - levels.initial) / levels.steps
        return ConstantScheduler(*ends, step or 1.0)
    return PolynomialScheduler(levels.steps, *ends)


def resume_directory(directory: Path, *, verbose: bool = True) -> Any:
    """Resume the run in a folder, with the configuration in it.

    Raises
    ------
    InvalidInputError
        The folder is not that of a run of the command line.
    """
    path = directory / CONFIGURATION
    if not path.is_file():
        raise InvalidInputError(
            f"{os.fspath(directory)} holds no {CONFIGURATION}, so it is not the folder of a run of "
            "'fabricfit optimize'. A run that Python began is resumed there, with resume=True."
        )
    return optimize(read_config(path), resume=True, directory=str(directory), verbose=verbose)
