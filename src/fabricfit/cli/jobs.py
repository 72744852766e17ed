"""What the commands do, with configurations in and results out; nothing here prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabricfit.cli.configuration import BudgetConfig, RunConfig, TrainingConfig, dump, read_hls4ml
from fabricfit.cli.inputs import import_plugins, load_data, load_model
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.families import DEFAULT_FAMILY

__all__ = ["CONFIG_FILE", "budget_of", "optimize", "resume_directory"]

CONFIG_FILE = "config.yaml"


def budget_of(config: BudgetConfig) -> Budget:
    """Return the budget that a section describes."""
    if config.device is not None:
        return Budget.device(config.device, config.fraction)
    family = config.family or DEFAULT_FAMILY
    if config.relative:
        return Budget.relative(family=family, **config.relative)
    amounts = {
        name: getattr(config, name) for name in ("dsp", "bram18", "bram36", "uram", "lut", "ff")
    }
    return Budget(**amounts, family=family)


def optimize(
    config: RunConfig, *, resume: bool = False, directory: str | None = None, verbose: bool = True
) -> Any:
    """Do the run that a configuration describes.

    Parameters
    ----------
    config
        The run.
    resume
        Go on with it where it was left.
    directory
        Where it has, or makes, its folder, if that is not what the configuration says.
    verbose
        Show it while it goes on.

    Returns
    -------
    OptimizationResult
    """
    import_plugins(config.plugins)
    model = load_model(config.model)
    train, validation = load_data(config.data)
    settings = _settings(config.training, directory or config.directory, resume, verbose)
    text = dump(config)
    hls_config = read_hls4ml(config.hls4ml)
    if config.budget is not None:
        import fabricfit

        return fabricfit.fit(
            model,
            hls_config,
            budget_of(config.budget),
            train,
            validation,
            settings,
            scheduler=None if config.levels is None else _scheduler(config),
            documents={CONFIG_FILE: text},
        )
    return _for_objective(config, model, hls_config, train, validation, settings, text)


def _for_objective(
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
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.objectives.fpga_luts import BitOperations
    from fabricfit.objectives.fpga_units import UnitResources
    from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
    from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator

    objectives: dict[str | None, Any] = {
        "parameters": ParameterEstimator,
        "flops": GPUFLOPEstimator,
        "bit_operations": BitOperations,
        "dsp": VivadoDSPEstimator,
        "unit_dsp": UnitResources(("dsp",)),
    }
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, hls_config)
    return fabricfit.optimize(
        model,
        attributes,
        objectives[config.objective],
        _scheduler(config),
        train,
        validation,
        settings,
        documents={CONFIG_FILE: text},
    )


def _settings(training: TrainingConfig, directory: str | None, resume: bool, verbose: bool) -> Any:
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
            f"training.optimizer must be one that Keras knows. Received: {training.optimizer!r}"
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


def _scheduler(config: RunConfig) -> Any:
    from fabricfit.cli.configuration import LevelsConfig
    from fabricfit.scheduler import BinaryScheduler, ConstantScheduler, PolynomialScheduler

    levels = config.levels or LevelsConfig()
    ends = levels.initial, levels.final
    if levels.schedule == "binary":
        return BinaryScheduler(*ends)
    if levels.schedule == "constant":
        step = (levels.final - levels.initial) / levels.steps
        return ConstantScheduler(*ends, step or 1.0)
    return PolynomialScheduler(levels.steps, *ends)


def resume_directory(directory: Path, *, verbose: bool = True) -> Any:
    """Go on with the run in a folder: by the configuration that lies there.

    Raises
    ------
    InvalidInputError
        No run of the command line is there.
    """
    from fabricfit.cli.configuration import read_config

    path = directory / CONFIG_FILE
    if not path.is_file():
        raise InvalidInputError(
            f"{os.fspath(directory)} holds no {CONFIG_FILE}, so that it is not the folder of a run of "
            "'fabricfit optimize'. A run from Python is resumed there, with resume=True."
        )
    return optimize(read_config(path), resume=True, directory=str(directory), verbose=verbose)
