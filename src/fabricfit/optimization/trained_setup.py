"""Set-up of a run that trains precision: checked, built and once delivered before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.checks import fraction, one_of
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import FixedPrecision, fixed_point
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InfeasibleError, InvalidInputError, require, spell
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.target import choose_budget
from fabricfit.layers.calls import Call
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.buildable import list_limits, refuse_limits
from fabricfit.network.cloning import copy_model
from fabricfit.network.configuration import carry_sections, state_every_call
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.estimation import describe_as_built
from fabricfit.network.plain_layers import make_plain
from fabricfit.network.reader import Network, read
from fabricfit.network.rectifiers import fuse_rectifiers
from fabricfit.network.rewiring import rewire
from fabricfit.network.scalings import replace_scalings
from fabricfit.optimization.deadlines import refuse_late
from fabricfit.optimization.identity import fingerprint
from fabricfit.optimization.savings import GivenDesign
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import (
    add_distillation,
    add_teacher,
    evaluate_baseline,
    open_both,
)
from fabricfit.optimization.state import make_manifest
from fabricfit.optimization.trained_design import DesignCounter, TrainedDesign, with_defaults
from fabricfit.optimization.trained_plan import allowed_adders, count_steps, make_plan
from fabricfit.precision.cost import estimate_costs
from fabricfit.precision.delivery import deliver
from fabricfit.precision.formats import find_input_limits, note_widths
from fabricfit.precision.model import PrecisionModel, build_precision_model
from fabricfit.precision.start import start_bits
from fabricfit.precision.training import PrecisionTraining
from fabricfit.samples import Dataset
from fabricfit.selection.choice_targets import objective_of
from fabricfit.training import Engine, check_against_model, fresh_optimizer, make_engine

__all__ = ["GRANULARITIES", "OVERFLOWS", "TrainedFormats", "TrainedSetup", "set_up_trained"]

GRANULARITIES = ("tensor", "channel")
"""What has a number format of its own: a tensor as a whole, or each of its channels."""

OVERFLOWS = ("saturate", "wrap")
"""What becomes of numbers inside the network that are beyond what occurred in the data."""

_STRATEGIES = ("distributed_arithmetic", "latency")
_MOST_SAMPLES = 2**17
_HEAD = 2048


@dataclass(frozen=True)
class TrainedFormats:
    """Which number formats are trained.

    Parameters
    ----------
    granularity
        One of :data:`GRANULARITIES`.
    saturating
        Part of the numbers of each input that may saturate, in front of the network; 0 for none of them.
    overflow
        One of :data:`OVERFLOWS`.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        There is no such granularity or overflow, or the part is not from 0 to below 1.
    MissingExtraError
        Formats of channels are delivered with HGQ2, which is not installed.
    """

    granularity: str = "tensor"
    saturating: float = 0.02
    overflow: str = "saturate"

    def __post_init__(self) -> None:
        one_of("granularity", self.granularity, GRANULARITIES)
        fraction("saturating", self.saturating)
        one_of("overflow", self.overflow, OVERFLOWS)
        if self.granularity == "channel":
            require("hgq.quantizer", "hgq", "A format for each channel (granularity='channel')")

    @property
    def by_channel(self) -> bool:
        """Whether each channel of a tensor has a format of its own."""
        return self.granularity == "channel"


@dataclass(frozen=True)
class TrainedSetup:
    """What a run that trains precision works with.

    Parameters
    ----------
    network
        What was read of the model, of plain layers, its normalizations folded.
    made, engine
        The model that trains its precision, and what trains it.
    settings, plan
        How it is done.
    training, validation
        Samples to train on and to evaluate on.
    source
        What the samples to train on were read from.
    inputs
        An array for each input: what number formats hold.
    metric, baseline
        The validation metric, and its value for the model that came in, without number formats.
    counter, given
        Counts designs; and what the model used as it was given.
    budgets
        Those that the run serves.
    adders
        LUTs of adders that each budget allows for.
    impossible
        Place of a budget that cannot be met -> why not.
    others
        What all but the products use, as far as it is known beforehand.
    manifest, documents
        Describe the run in its folder.
    """

    network: Network
    made: PrecisionModel
    engine: Engine
    settings: OptimizationSettings
    plan: PrecisionTraining
    training: Dataset
    validation: Dataset
    source: Any
    inputs: list[np.ndarray]
    metric: ModelMetric
    baseline: float
    counter: DesignCounter
    given: GivenDesign
    budgets: tuple[Budget, ...]
    adders: tuple[float, ...]
    impossible: Mapping[int, InfeasibleError]
    others: np.ndarray
    manifest: Mapping[str, Any]
    documents: Mapping[str, str]

    @property
    def threshold(self) -> float | None:
        """The metric that is good enough; None where the best one is wanted."""
        return self.settings.threshold(self.baseline)

    def limits(self, budget: Budget) -> np.ndarray:
        """Return what a budget allows of each of its resources."""
        return _limits(budget, self.given)


def set_up_trained(
    whole: Network,
    config: dict[str, Any],
    budgets: Sequence[Budget],
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    formats: TrainedFormats,
    documents: Mapping[str, str] | None = None,
) -> TrainedSetup:
    """Check what a run is given, and build what it works with; nothing is trained or written.

    The network is delivered once with the bits that it starts with: what hls4ml cannot build, or no budget
    allows for, is known then.

    Parameters
    ----------
    whole
        What was read of the model.
    config
        hls4ml's configuration, opened; precisions, strategies and reuse factors may be missing.
    budgets
        The budgets, of the same resources.
    data
        For training and for validation.
    settings, documents
        As for :func:`fabricfit.fit`.
    formats
        Which number formats are trained.

    Raises
    ------
    InfeasibleError
        A budget cannot be met.
    FabricFitError
        The input cannot be worked with; a layer quantizes, and no plain one computes the same.
    """
    _check(settings)
    plain = make_plain(whole)
    budgets = [each if each.chosen else choose_budget(config, each) for each in budgets]
    first = budgets[0]
    objective = objective_of(first)
    built, asked = describe_as_built(whole, with_defaults(config, "Latency"))
    given = GivenDesign.of(asked, built.kernel_arrays(), objective)
    network = fuse_rectifiers(_flatten(replace_scalings(fold_normalizations(plain.network))))
    config = copy.deepcopy(config)
    carry_sections(config, whole, network, plain.parts)
    state_every_call(config, network)
    attributes = describe_for_hls4ml(network, with_defaults(config, "distributed_arithmetic"))
    strategies, inner = _read_strategies(attributes), _read_inner(attributes)
    loss = ModelLoss(settings.loss_fn, settings.loss_weights, network.ends.outputs)
    metric = ModelMetric(settings.validation_metric, network.ends.outputs)
    training, validation = open_both(network, data, settings, (loss, metric))
    inputs = _join_inputs(training, validation)
    made = _build(network, config, inputs, formats, inner)
    engine = make_engine(
        made.model, add_distillation(loss, settings), settings.optimizer, seed=settings.seed
    )
    check_against_model(engine, training)
    outputs = check_against_model(engine, validation)
    metric = metric.suited(validation.head(len(keras.tree.flatten(outputs)[0])).y, outputs)
    counter = DesignCounter(made, config, strategies, first)
    design = _deliver_once(counter, made, engine, inputs)
    others = design.total - design.of_adders
    adders, impossible = [], {}
    for place, budget in enumerate(budgets):
        try:
            refuse_late(budget, design.attributes, design.kernels)
            adders.append(allowed_adders(design, others, _limits(budget, given), budget))
        except InfeasibleError as error:
            impossible[place] = error
            adders.append(np.nan)
    if len(impossible) == len(budgets):
        raise impossible[0]
    steps = count_steps(training, settings.batch_size)
    plan = make_plan(settings, design.luts_of_adders, adders, steps)
    identity = fingerprint(network.model, {}, training, validation, settings)
    training = add_teacher(whole.model, training, loss, settings)
    goal = {
        "target": "trained precision",
        **vars(formats),
        "budget": " and ".join(each.name or repr(each) for each in budgets),
        "limits": [_limits(each, given).tolist() for each in budgets],
    }
    plain_model = make_engine(copy_model(whole.model), loss, "sgd")
    return TrainedSetup(
        network=network,
        made=made,
        engine=engine,
        settings=settings,
        plan=plan,
        training=training,
        validation=validation,
        source=data[0],
        inputs=inputs,
        metric=metric,
        baseline=evaluate_baseline(plain_model, validation, metric),
        counter=counter,
        given=given,
        budgets=tuple(budgets),
        adders=tuple(adders),
        impossible=impossible,
        others=others,
        manifest=make_manifest(
            network.model.name,
            identity,
            settings,
            goal,
            {"path": str(plan.path), **vars(plan.rates)},
        ),
        documents=dict(documents or {}),
    )


def _flatten(network: Network) -> Network:
    """Return a network without nested models: between their layers there is to be room for rounding."""
    if not network.graph.nested:
        return network

    def call(_: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return layer(*args, **kwargs)

    return read(rewire(network, call, lambda _, symbol: symbol))


def _check(settings: OptimizationSettings) -> None:
    require("alkaid.trace", "adders", "Training precision, whose adders are counted,")
    rate = fresh_optimizer(settings.optimizer)._learning_rate
    if not isinstance(rate, keras.Variable):
        raise InvalidInputError(
            "precision='trained' changes the learning rate itself, from 5 times the optimizer's own down to "
            f"half of it, again and again. Give the optimizer a number. Received: {spell(rate)}"
        )


def _read_strategies(attributes: Mapping[str, LayerAttributes]) -> dict[str, str]:
    """Return each layer's strategy; refuse what shares a multiplier among weights."""
    found = {}
    for name, layer in attributes.items():
        if not layer.multiplies or layer.hls4ml is None:
            continue
        strategy, reuse = canonical_strategy(layer.hls4ml.strategy), layer.hls4ml.reuse_factor
        if strategy not in _STRATEGIES or reuse != 1:
            raise InvalidInputError(
                f"layer {name!r}: precision='trained' builds each product by itself, with distributed "
                "arithmetic or Latency and a reuse factor of 1. Received: "
                f"Strategy={layer.hls4ml.strategy!r}, ReuseFactor={reuse}. Leave both out of hls_config, "
                "or use precision='given'."
            )
        found[layer.layer_name] = strategy
    return found


def _read_inner(attributes: Mapping[str, LayerAttributes]) -> dict[str, FixedPrecision]:
    """Return the number formats of tensors that layers make inside themselves, by layer."""
    return {
        layer.layer_name: fixed_point(layer.hls4ml.output_precision, f"results of {name!r}")
        for name, layer in attributes.items()
        if layer.multiplies_inner and layer.hls4ml is not None
    }


def _join_inputs(*datasets: Dataset) -> list[np.ndarray]:
    """Return the inputs of all samples, an array for each input; of a stream, those of the first ones."""
    parts = [keras.tree.flatten(each.arrays(_MOST_SAMPLES).X) for each in datasets]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def _build(
    network: Network,
    config: Mapping[str, Any],
    inputs: list[np.ndarray],
    formats: TrainedFormats,
    inner: Mapping[str, FixedPrecision],
) -> PrecisionModel:
    made = build_precision_model(
        network,
        by_channel=formats.by_channel,
        in_parallel=read_io_type(config) == "io_parallel",
        limits=find_input_limits(inputs, 1 - formats.saturating, by_channel=formats.by_channel),
        wraps=formats.overflow == "wrap",
        inner=inner,
    )
    inside = [name for name, wrapper in made.weights.items() if wrapper.has_inner]
    if formats.by_channel and inside:
        raise InvalidInputError(
            f"layer {inside[0]!r} multiplies inside itself. hls4ml does not convert such layers beside the "
            "quantizer layers that a format for each channel needs. Use granularity='tensor'."
        )
    if not made.weights:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in made.skipped.items())
        raise InvalidInputError(
            f"the model has no layer whose precision can be trained. {reasons or 'It has no weights.'}"
        )
    start_bits(made, [array[:_HEAD] for array in inputs])
    return made


def _deliver_once(
    counter: DesignCounter, made: PrecisionModel, engine: Engine, inputs: list[np.ndarray]
) -> TrainedDesign:
    """Return the design of the network as it starts, its adders estimated; the model's state is what it was.

    Raises
    ------
    InvalidInputError
        hls4ml would not build it as it is.
    """
    head = [array[:_HEAD] for array in inputs]
    weights = engine.get_weights()
    note_widths(made, head)
    adders = {name: cost.luts for name, cost in estimate_costs(made).items()}
    engine.set_weights(weights)
    design = counter.count(deliver(made, head, counter.strategies), adders)
    limits = list_limits(design.network, design.attributes, design.hls_config)
    refuse_limits(limits, "fabricfit.fit")
    return design


def _limits(budget: Budget, given: GivenDesign) -> np.ndarray:
    allowed = budget.limits(dict(zip(budget.resources, given.total.tolist(), strict=True)))
    return np.array([allowed[name] for name in budget.resources])
