"""Fit to a budget around a training loop of one's own: levels, masks and proofs, without the training."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import keras

from fabricfit.checks import optional_number, whole_number
from fabricfit.errors import FabricFitError, InvalidInputError, spell
from fabricfit.hardware.budget_forms import BudgetLike, as_budget
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.target import choose_budget
from fabricfit.loading.load import load_model
from fabricfit.network.configuration import open_configuration
from fabricfit.network.finite import open_network
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.optimization.arguments import check_arguments
from fabricfit.optimization.chosen_design import leaves_design_open
from fabricfit.optimization.compiled_settings import RunOptions, read_seed, read_settings
from fabricfit.optimization.given_fit import GivenFit, prepare_given
from fabricfit.optimization.outcome import make_result
from fabricfit.optimization.recording import recorded
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.run import Run
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.samples.held_back import divide_samples
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.training import StretchOutcome, TrainingDivergedError, fresh_optimizer

__all__ = ["LevelCallback", "MaskedLevel", "MaskedTraining", "masked"]

_OF_THE_LOOP = (
    "epochs", "callbacks", "patience", "rewinding_epochs", "tuner", "trials", "search",
    "regularization_range", "distillation", "temperature", "finishing_epochs",
)  # fmt: skip
"""Options of a run that say how weights are trained, which is the caller's affair here."""


class UnfinishedError(FabricFitError, RuntimeError):
    """The levels of a masked training are not done."""


@dataclass(frozen=True)
class MaskedLevel:
    """A level to train at.

    Parameters
    ----------
    number
        Counts levels from 1.
    sparsity
        How far it is on the way from what the model uses (0) to the budget (1).
    """

    number: int
    sparsity: float


class MaskedTraining:
    """Levels on the way to a budget, whose training is the caller's.

    Parameters
    ----------
    prepared
        The fit, ready to run.
    """

    def __init__(self, prepared: GivenFit) -> None:
        self._prepared = prepared
        self._result: OptimizationResult | None = None
        self._begun = False
        self.epochs_done = 0
        """Epochs of the present level, for the report; :meth:`callback` counts them."""

    @property
    def model(self) -> keras.Model:
        """The model to train: a copy, batch normalizations folded as :func:`fabricfit.fit` does.

        It is compiled with loss, optimizer and metric of the settings; compile it anew at will.
        """
        return self._prepared.setup.engine.model

    @property
    def metric_name(self) -> str:
        """Name of the validation metric that levels are evaluated by."""
        return self._prepared.setup.metric.name

    def levels(self) -> Iterator[MaskedLevel]:
        """Yield level after level; the weights are pruned and frozen there when it is yielded.

        Train :attr:`model` in the body of the loop, and call :meth:`apply` after each of its steps. Going on
        evaluates the level: one whose metric is not good enough is undone, and another one is tried. With the
        last one :attr:`result` is there.
        """
        if self._begun:
            raise UnfinishedError(
                "the levels of a masked training are gone through once. Call fabricfit.masked anew, with "
                "resume=True to go on with those that are done."
            )
        self._begun = True
        setup = self._prepared.setup
        data = (setup.training, setup.validation)
        with recorded(setup.settings, setup.manifest, setup.documents, data) as recorder:
            run = Run(setup, recorder)
            stretches = run.stretches()
            stretch = next(stretches, None)
            while stretch is not None:
                self.epochs_done = 0
                self.apply()
                yield MaskedLevel(len(run.state.levels) + 1, stretch.sparsity)
                try:
                    outcome = self._evaluate()
                    stretch = stretches.send(outcome)
                except TrainingDivergedError as error:
                    stretch = stretches.throw(error)
                except StopIteration:
                    break
            self._result = self._prepared.deliver(make_result(setup, recorder, run.state))

    def _evaluate(self) -> StretchOutcome:
        """Return what the training of a level brought."""
        setup = self._prepared.setup
        self.apply()
        setup.ranges()
        metric = setup.engine.evaluate(setup.validation, setup.metric)
        if not math.isfinite(metric):
            raise TrainingDivergedError(f"the {setup.metric.name} is {metric} after the training")
        return StretchOutcome(metric, (math.nan,) * self.epochs_done)

    def apply(self) -> None:
        """Put pruned weights back to zero and shared ones to a common value: after each training step."""
        self._prepared.setup.engine.project_weights()

    def mask_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Return gradients that leave frozen weights alone, so that no optimizer's momentum collects them.

        Parameters
        ----------
        gradients
            Those of the model's trainable variables, in their order. Not within a function that JAX compiles:
            it would hold the masks of its first call.
        """
        return self._prepared.setup.engine.projection.gradients(list(gradients))

    def callback(self, epochs: int = 5) -> LevelCallback:
        """Return a Keras callback for ``training.model.fit``, which goes from level to level.

        Parameters
        ----------
        epochs
            Of each level. ``fit`` is to be called with as many epochs as all levels need, or more: it is
            stopped behind the last one.
        """
        return LevelCallback(self, epochs)

    @property
    def result(self) -> OptimizationResult:
        """What :func:`fabricfit.fit` would return.

        Raises
        ------
        UnfinishedError
            Levels are left.
        """
        if self._result is None:
            raise UnfinishedError(
                "levels are left on the way to the budget: go on with training.levels() to its end, or call "
                "fit for more epochs with training.callback()."
            )
        return self._result


class LevelCallback(keras.callbacks.Callback):
    """Goes from level to level while Keras' ``fit`` trains, and keeps pruned weights pruned.

    Parameters
    ----------
    training
        The levels.
    epochs
        Epochs of each of them.
    """

    def __init__(self, training: MaskedTraining, epochs: int) -> None:
        super().__init__()
        self._training, self._epochs = training, whole_number("epochs", epochs)
        self._levels: Iterator[MaskedLevel] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Choose and freeze at the first level."""
        trained, own = self.model, self._training.model
        if trained is not own:
            raise InvalidInputError(
                f"the callback belongs to training.model, {own.name!r}. Received: a fit of another model, "
                f"{trained.name!r}"
            )
        if self._levels is None:
            self._levels = self._training.levels()
            self._advance()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keep frozen weights as they are."""
        _ = self.model  # whose weights JAX' fit holds elsewhere until it is asked for
        self._training.apply()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Go on where the level has had its epochs."""
        _ = self.model
        self._training.epochs_done += 1
        if self._training.epochs_done >= self._epochs:
            self._advance()

    def _advance(self) -> None:
        assert self._levels is not None
        if next(self._levels, None) is None:
            self.model.stop_training = True


def masked(
    model: keras.Model | str | os.PathLike[str],
    train_data: Any,
    validation_data: Any,
    budget: BudgetLike,
    settings: OptimizationSettings | None = None,
    *,
    hls_config: ConfigurationLike | None = None,
    scheduler: OptimizationScheduler | None = None,
    objective: type[FPGAResources] = FPGAResources,
    part: str | None = None,
    clock_ns: float | None = None,
    tool: str | None = None,
    binding: str | None = None,
    margin: float | None = None,
    **options: Unpack[RunOptions],
) -> MaskedTraining:
    """Fit a model to a budget around a training loop of one's own.

    :func:`fabricfit.fit` chooses, trains and proves; here the training is the caller's: a loop with gradients
    of one's own, several optimizers, data that arrive while training, or Keras' ``fit`` with all it offers::

        training = fabricfit.masked(model, (X, y), (X_val, y_val), "pynq-z2", hls_config=config)
        for level in training.levels():
            for batch in batches:
                train_step(training.model, batch)
                training.apply()
        result = training.result

        training.model.fit(X, y, epochs=50, callbacks=[training.callback(epochs=10)])  # or so

    Levels are chosen, evaluated, accepted and resumed as those of ``fit``, and the result is the same kind of
    one. Number formats are given; trained precision needs its own training.

    Parameters
    ----------
    model, train_data, validation_data, budget, scheduler, objective, part, clock_ns, tool, binding, margin
        As for :func:`fabricfit.fit`. The training samples serve to rank weights.
    settings
        As for :func:`fabricfit.fit`; what it says of training has no effect.
    hls_config
        How hls4ml is to build the model; :func:`fabricfit.explore` and :func:`fabricfit.calibrate` find one.
    options
        As for :func:`fabricfit.fit`, without those that concern the training.

    Raises
    ------
    InfeasibleError
        The budget cannot be met, or a deadline not kept.
    InvalidInputError
        An option concerns the training; the configuration leaves the design open; or hls4ml would build
        something else of the model.
    """
    for name in options:
        if name in _OF_THE_LOOP:
            raise InvalidInputError(
                f"{name} concerns the training, which is the caller's with fabricfit.masked: leave it out."
            )
    check_arguments(scheduler, objective=objective)
    optional_number("margin", margin, least=0, most=1)
    limits = as_budget(budget)
    if isinstance(model, str | os.PathLike):
        model = load_model(model)
    seed = read_seed(settings, options)
    data = divide_samples(train_data, validation_data, seed)
    whole = open_network(model)
    config = open_configuration({} if hls_config is None else hls_config, whole)
    if leaves_design_open(config):
        raise InvalidInputError(
            "hls_config must state how hls4ml builds the model, with its section 'Model'. Find one "
            "with fabricfit.explore(model, budget, data).best.config, or number formats with "
            f"fabricfit.calibrate(model, data).config. Received: {spell(hls_config)}"
        )
    asked = {"part": part, "clock_ns": clock_ns, "tool": tool, "binding": binding}
    limits = choose_budget(config, limits, margin=margin, **asked)
    of_the_loop = {"tuner": None, "rewinding_epochs": 0, "distillation": 0.0, "finishing_epochs": 0}
    own = read_settings(model, data[0], settings, {**options, **of_the_loop}, trained=False)
    prepared = prepare_given(
        whole, config, limits, data, own, scheduler=scheduler, objective=objective
    )
    training = MaskedTraining(prepared)
    _compile(training.model, prepared)
    return training


def _compile(model: keras.Model, prepared: GivenFit) -> None:
    setup = prepared.setup
    model.compile(
        fresh_optimizer(setup.settings.optimizer),
        **setup.engine.hard_loss.for_compile(),
        metrics=setup.metric.for_compile(),
    )
