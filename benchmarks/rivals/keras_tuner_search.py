"""Strengths of L1 penalties chosen by KerasTuner: each trial builds, compiles and fits a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.task import Task
from benchmarks.workloads import (
    LEARNING_RATE,
    LOSS,
    WORKLOADS,
    accuracy,
    build,
    load_model,
    load_samples,
)

__all__ = ["search_task"]


def search_task(
    name: str, seed: int, directory: str, epochs: int, trials: int, strengths: list[float]
) -> Task:
    """Prepare a Bayesian search.

    Parameters
    ----------
    name, seed, directory
        The workload, its seed and the run's directory.
    epochs, trials
        Length and number of trials.
    strengths
        What is chosen from, for every layer by itself.
    """
    import keras

    from benchmarks.rivals.bayesian import BayesianOptimization

    samples, model = load_samples(name, directory, seed), load_model(name, seed, directory)
    weights = model.get_weights()

    def build_trial(hp: Any) -> keras.Model:
        trial = build(name)
        for layer in trial.layers:
            if hasattr(layer, "kernel_regularizer"):
                strength = hp.Choice(f"{layer.name}_strength", values=strengths)
                layer.kernel_regularizer = keras.regularizers.L1(strength)
        trial = keras.models.clone_model(trial)  # layers take their regularizer when they are built
        trial.set_weights(weights)
        trial.compile(keras.optimizers.Adam(LEARNING_RATE), LOSS, metrics=["accuracy"])
        return trial

    def work() -> keras.Model:
        tuner = BayesianOptimization(
            build_trial,
            objective="val_accuracy",
            max_trials=trials,
            overwrite=True,
            directory=str(Path(directory) / "keras-tuner"),
            seed=seed + 1,
        )
        tuner.search(
            *samples.train,
            batch_size=WORKLOADS[name].batch_size,
            epochs=epochs,
            validation_data=samples.validation,
            verbose=0,
        )
        return tuner.get_best_models(num_models=1)[0]

    return Task(work, lambda best: {"after": accuracy(best, samples.X_test, samples.y_test)})
