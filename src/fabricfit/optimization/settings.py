"""Settings of a run: one frozen object, checked before anything is trained or written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import keras

from fabricfit.checks import (
    file_path,
    flag,
    fraction,
    mapping,
    number,
    one_of,
    optional_number,
    optional_whole_number,
    whole_number,
)
from fabricfit.choices.ranking import get_criterion
from fabricfit.errors import InvalidInputError, InvalidTypeError, code_of_others, require, spell
from fabricfit.knapsack import Options, implementations
from fabricfit.losses import check_loss_weights, check_losses, check_metrics
from fabricfit.run import defaults
from fabricfit.run.files import DEFAULT_DIRECTORY
from fabricfit.samples import check_class_weight
from fabricfit.training import fresh_optimizer
from fabricfit.tuning.search import check_range, check_tuner

__all__ = ["LARGEST_SEED", "OptimizationSettings", "list_by_output"]

_OF_THE_MODEL: Any = None
"""What a run fills in, from the model and the data that it is given."""

_SEARCH = "halving"

LARGEST_SEED = 2**32 - 1
"""The largest seed that NumPy's older generators, which Keras seeds too, take."""

_OPTIONAL_WHOLE = {
    "batch_size": 1,
    "epochs": 1,
    "rewinding_epochs": 0,
    "patience": 1,
    "curvature_samples": 1,
    "finishing_epochs": 0,
}
_WHOLE = {
    "cutoff_bad_trials": 0,
    "minimum_groups": 0,
    "trials": 1,
    "recalibration": 0,
    "compensation": 0,
}
"""Settings that are whole numbers -> the smallest that each may be."""


@dataclass(frozen=True)
class OptimizationSettings:
    """Settings of a run. All of them have defaults; those of the model are what it was compiled with.

    Parameters
    ----------
    batch_size
        Samples in a training step. By default the largest power of two, from 16 to 1,024, that leaves 32
        steps an epoch; 256, where it cannot be seen how many samples there are.
    epochs
        At most how many epochs a sparsity level is trained, ``rewinding_epochs`` of them unmasked. By default
        20 for a level, and 240 in all where number formats are trained.
    optimizer, loss_fn, validation_metric
        By default what the model was compiled with: its optimizer (Adam, if it has none), its loss, and the
        first metric of each output, or without a metric the loss. Else Keras objects, their names, or what
        Keras' ``serialize`` returns (losses and metrics also as functions), as ``model.compile`` accepts
        them. They are never changed. Of a model with several outputs, a loss or metric serves each by itself,
        or there is one for each, in a dict by output name or a list: see
        :class:`fabricfit.losses.ModelLoss` and :class:`fabricfit.losses.ModelMetric`. Several metrics count
        by their mean; ``'loss'`` is the loss, as Keras' ``evaluate`` returns it.
    increasing
        Whether a larger metric is better. By default what Keras says of the metric.
    rtol
        A level is good if its metric is at least as good as ``rtol`` times the baseline's: below 1
        for a metric that increases, above 1 for one that decreases. With None every level is good
        whose training ends with a finite metric.
    max_drop
        The same as a difference: a level is good if its metric is at most so much worse than the baseline's,
        0.01 for a point of accuracy. Not both.
    callbacks
        Keras callbacks for every stretch of fine-tuning. Their states are saved for a run to resume with
        (:mod:`fabricfit.training.callback_states`); one that changes nothing may say ``only_watches = True``.
    ranking_metric
        A criterion of :mod:`fabricfit.choices.ranking`. None means ``'removal'`` for objectives that remove
        whole units, ``'saliency'`` for :func:`fabricfit.fit` and for objectives that list choices of unlike
        costs, which only a loss can compare, and ``'l1'`` elsewhere.
    local
        Meet the sparsity in every layer by itself.
    verbose
        Show the run's progress on the standard error stream.
    rewinding_epochs
        Epochs of training without masks between two levels, in which pruned weights may grow back. By default
        1; none where there is a single epoch.
    cutoff_bad_trials
        The run ends after more than this many bad levels in a row.
    directory
        Folder in which the run makes a new one for its files. The default name stands for the
        platform's cache folder.
    tuner
        The method of a search for regularization strengths before the run, None for no search.
        ``'halving'`` tries ``trials`` choices, evaluated by the validation metric after pruning to the target
        (:mod:`fabricfit.tuning.successive_halving`). ``'Bayesian'`` and ``'Hyperband'`` are KerasTuner's
        (extra ``tuner``), evaluated likewise. ``'Manual'`` does not search either.
    knapsack_solver
        See :func:`fabricfit.selection.groups.select_groups`.
    regularization_range
        Regularization strengths that the tuner chooses from.
    seed
        Seeds everything random: the same seed gives the same result on the same machine.
    knapsack_options
        ``time_limit`` in seconds for one knapsack, and ``scaling_factor``.
    minimum_groups
        Groups that are kept in every layer.
    patience
        A level's training ends after so many epochs in a row that brought next to nothing, when the
        ``rtol`` is out of reach, or when, on the way to the target, the metric is what it was before the
        run: see :func:`fabricfit.training.fine_tuning.train`. With None all
        ``epochs`` are trained.
    trials
        Choices of regularization strengths that ``'halving'`` tries.
    recalibration
        Samples from which the statistics of batch normalizations are recomputed whenever weights have been
        pruned (:mod:`fabricfit.training.recalibration`); 0 leaves it to training.
    compensation
        Samples of the optimal-brain-surgeon update of the weights that are kept, whenever others are pruned
        (:mod:`fabricfit.training.weight_update`); 0 for no update.
    curvature_samples
        Samples on which the second derivatives are computed that rank weights by ``'saliency'``. None uses
        all, exactly, where that takes no more than half a second; else 1,024 to 4,096, an eighth of the
        training samples: see :mod:`fabricfit.curvature.effort`. The report states the error.
    finishing_epochs
        Epochs that the smaller model is trained at the end where whole units have been removed, with a
        falling learning rate (:mod:`fabricfit.optimization.finishing`). None for as many as ``epochs``, 0
        for none.
    distillation
        Weight, from 0 to below 1, of the outputs of the model before the run as targets of their own
        (:mod:`fabricfit.training.distillation`).
    temperature
        Divides logits in distillation; above 0.
    resume
        Resume the run of the same model, data and settings in ``directory``, from the last good point,
        if there is one: a run that was interrupted ends as an unbroken one would have. ``directory`` is
        the run's own folder, or the one in which runs make theirs.
    checkpoint_seconds
        Seconds between two checkpoints of a stretch of training; they are written between two epochs.
    loss_weights
        What the losses of outputs are multiplied by: a dict by output name, a list, or a number for a single
        output; None for 1.
    class_weight
        Class -> weight of the training samples that belong to it, for a model of one output; it
        multiplies weights of samples. None for 1.
    search
        How many choices of regularization strengths are tried before the run: ``trials`` and ``tuner``
        (``'halving'``, if no other is named) in one; None leaves them as they are. Ten choices are some 27
        epochs for levels of 10 epochs, about as much as three levels.
    """

    batch_size: int = _OF_THE_MODEL
    epochs: int = _OF_THE_MODEL
    optimizer: Any = None
    loss_fn: Any = None
    validation_metric: Any = None
    increasing: bool = _OF_THE_MODEL
    rtol: float | None = None
    callbacks: Sequence[Any] | None = None
    ranking_metric: str | None = None
    local: bool = False
    verbose: bool = False
    rewinding_epochs: int = _OF_THE_MODEL
    cutoff_bad_trials: int = defaults.CUTOFF_BAD_TRIALS
    directory: str | os.PathLike[str] = DEFAULT_DIRECTORY
    tuner: str | None = defaults.TUNER
    knapsack_solver: str = defaults.KNAPSACK_SOLVER
    regularization_range: Sequence[float] = field(
        default_factory=lambda: list(defaults.REGULARIZATION_RANGE)
    )
    seed: int = defaults.SEED
    knapsack_options: Mapping[str, Any] | None = None
    minimum_groups: int = defaults.MINIMUM_GROUPS
    patience: int | None = defaults.PATIENCE
    trials: int = defaults.TRIALS
    recalibration: int = defaults.RECALIBRATION
    compensation: int = defaults.COMPENSATION
    curvature_samples: int | None = None
    finishing_epochs: int | None = None
    max_drop: float | None = None
    distillation: float = defaults.DISTILLATION
    temperature: float = defaults.TEMPERATURE
    resume: bool = False
    checkpoint_seconds: float = defaults.CHECKPOINT_SECONDS
    loss_weights: Any = None
    class_weight: Mapping[int, float] | None = None
    search: InitVar[int | None] = None

    def __post_init__(self, search: int | None) -> None:
        if search is not None:
            self._search(search)
        self._check_numbers()
        self._check_names()
        self._check_objects()

    def _check_numbers(self) -> None:
        """Check single numbers and truth values, and make them Python's own."""
        for name, least in _OPTIONAL_WHOLE.items():
            self._set(name, optional_whole_number(name, getattr(self, name), least))
        for name, least in _WHOLE.items():
            self._set(name, whole_number(name, getattr(self, name), least))
        self._set("seed", whole_number("seed", self.seed, 0, most=LARGEST_SEED))
        if (
            None not in (self.epochs, self.rewinding_epochs)
            and self.epochs <= self.rewinding_epochs
        ):
            raise InvalidInputError(
                "epochs must be more than rewinding_epochs, so that the masked model is trained too. "
                f"Received: epochs={self.epochs}, rewinding_epochs={self.rewinding_epochs}"
            )
        self._set("rtol", optional_number("rtol", self.rtol, above=0))
        self._set("max_drop", optional_number("max_drop", self.max_drop, least=0))
        if None not in (self.rtol, self.max_drop):
            raise InvalidInputError(
                "what a level may lose is a part of the metric (rtol) or a difference (max_drop), not both. "
                f"Received: rtol={spell(self.rtol)}, max_drop={spell(self.max_drop)}"
            )
        self._set("distillation", fraction("distillation", self.distillation))
        self._set("temperature", number("temperature", self.temperature, above=0))
        seconds = number("checkpoint_seconds", self.checkpoint_seconds, least=0, infinite=True)
        self._set("checkpoint_seconds", seconds)
        if isinstance(self.verbose, int) and self.verbose in (0, 1):  # as Keras has it
            self._set("verbose", bool(self.verbose))
        for name in ("local", "resume", "verbose"):
            self._set(name, flag(name, getattr(self, name)))
        if self.increasing is not None:
            self._set("increasing", flag("increasing", self.increasing))

    def _check_names(self) -> None:
        """Check what is one of several names, a path, or a table of options."""
        file_path("directory", self.directory)
        if self.ranking_metric is not None:
            get_criterion(self.ranking_metric, "ranking_metric")
        one_of("knapsack_solver", self.knapsack_solver, implementations())
        if self.knapsack_options is not None:
            mapping("knapsack_options", self.knapsack_options)
        Options.of(self.knapsack_options)
        check_range(self.regularization_range)
        if check_tuner(self.tuner) in ("Bayesian", "Hyperband"):
            require("keras_tuner", "tuner", f"tuner={self.tuner!r}")

    def _check_objects(self) -> None:
        """Check what Keras has a word on: losses, metrics, the optimizer, callbacks."""
        for name in ("loss_fn", "validation_metric"):
            kind = getattr(self, name)
            if isinstance(kind, type) and issubclass(
                kind, keras.losses.Loss | keras.metrics.Metric
            ):
                with code_of_others(f"{name}={kind.__name__}()"):
                    self._set(name, kind())
        if self.loss_fn is not None:
            check_losses(self.loss_fn)
        check_loss_weights(self.loss_weights)
        if self.validation_metric is not None:
            check_metrics(self.validation_metric)
        check_class_weight(self.class_weight)
        if self.optimizer is not None:
            fresh_optimizer(self.optimizer)
        if not isinstance(self.callbacks, list | tuple | None):
            raise InvalidTypeError(
                "callbacks must be a list of keras.callbacks.Callback objects. "
                f"Received: callbacks={spell(self.callbacks)}"
            )
        for callback in self.callbacks or ():
            if not isinstance(callback, keras.callbacks.Callback):
                raise InvalidTypeError(
                    "callbacks must hold keras.callbacks.Callback objects. "
                    f"Received: {spell(callback)}"
                )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _search(self, choices: int) -> None:
        self._set("trials", whole_number("search", choices))
        if check_tuner(self.tuner) in (None, "Manual"):
            self._set("tuner", _SEARCH)

    @property
    def is_bounded(self) -> bool:
        """Whether a metric has to be reached."""
        return self.rtol is not None or self.max_drop is not None

    def threshold(self, baseline: float) -> float | None:
        """Return the metric that has to be reached, of that before the run; None if none has to be."""
        if self.max_drop is not None:
            return baseline - self.max_drop if self.increasing else baseline + self.max_drop
        return None if self.rtol is None else self.rtol * baseline

    def ranked_by(self, default: str) -> OptimizationSettings:
        """Return the settings with a ranking metric, this one where none is named."""
        return replace(self, ranking_metric=self.ranking_metric or default)


def list_by_output(value: Any) -> list[Any]:
    """Return what a setting holds, where it holds something for each output."""
    if isinstance(value, Mapping | list | tuple):
        parts = value.values() if isinstance(value, Mapping) else value
        return [each for part in parts for each in list_by_output(part)]
    return [] if value is None else [value]
