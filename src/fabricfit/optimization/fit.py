"""``fabricfit.fit``: a model made to fit a budget of an FPGA's resources."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidTypeError
from fabricfit.firmware.quantization import quantize_in_place
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.realize import Realized, realize_configuration
from fabricfit.hls4ml.target import choose_budget
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.buildable import list_limits, refuse_limits, warn_of_limits
from fabricfit.network.configuration import (
    open_configuration,
    state_every_call,
    without_layers,
)
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.estimation import describe_as_built
from fabricfit.network.reader import Network, as_network
from fabricfit.network.scalings import replace_scalings
from fabricfit.network.unknown_layers import describe_matrices
from fabricfit.network.whole_pooling import replace_whole_pooling
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.optimization.eligible_layers import Decisions
from fabricfit.optimization.optimize import OptimizationResult, run
from fabricfit.optimization.savings import GivenDesign
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import RunSetup, set_up
from fabricfit.optimization.stream_memory import fit_fifos
from fabricfit.optimization.trained_fit import choose_precision, fit_one, refuse_given_only
from fabricfit.optimization.trained_setup import TrainedFormats
from fabricfit.run import RunDirectory, defaults
from fabricfit.run.files import HLS_CONFIG
from fabricfit.scheduler import OptimizationScheduler, PolynomialScheduler
from fabricfit.selection.choice_targets import BudgetTarget, objective_for, objective_of

__all__ = ["fit"]


def fit(
    model: keras.Model,
    hls_config: ConfigurationLike | None,
    budget: Budget,
    train_data: Any,
    validation_data: Any,
    settings: OptimizationSettings,
    *,
    scheduler: OptimizationScheduler | None = None,
    objective: type[FPGAResources] = FPGAResources,
    reuse: OptimizationResult | None = None,
    documents: Mapping[str, str] | None = None,
    precision: str | None = None,
    granularity: str = "tensor",
    saturating: float = 0.02,
    overflow: str = "saturate",
    part: str | None = None,
    clock_ns: float | None = None,
    tool: str | None = None,
    binding: str | None = None,
    margin: float | None = None,
) -> OptimizationResult:
    """Make a model fit a budget: prune, share and round its weights, or train its number formats.

    With ``precision='trained'`` the bits of each weight and of each tensor are trained together with the
    weights, at a price that follows the budget (:mod:`fabricfit.precision`): products become a few adders,
    and the network that comes back uses no DSP for them. With ``'given'`` number formats are those of the
    configuration, and groups of weights are chosen by a knapsack.

    Parameters
    ----------
    model
        A built model. It is not changed. Of a subclassed one a functional copy is worked with, see
        :func:`fabricfit.network.tracing.traced`. Batch normalizations
        behind and before layers with a kernel are folded into them first, wherever that is exact;
        Rescaling and Normalization, which hls4ml does not know, become batch normalizations that do not
        train where they cannot be folded.
    hls_config
        How hls4ml is to build it: what ``hls4ml.utils.config_from_keras_model`` returns, or the part of
        it that matters, with an ``'IOType'`` if it is not ``'io_parallel'``; or a file of either, such as
        the ``hls4ml_config.yml`` of a project. None where nothing is stated, with trained precision.
    budget
        What the design may use.
    train_data, validation_data
        ``(X, y)`` or ``(X, y, weights)``, each part in any structure that Keras accepts, or anything that
        yields such batch by batch: see :func:`fabricfit.samples.open_data`.
    settings
        How it is done. With ``rtol=None`` the budget is met whatever it costs; with a number, levels
        whose metric is worse than that are not accepted, and the model comes as near to the budget as
        the metric allows.
    scheduler
        The levels on the way from what the model uses (0) to the budget (1); 5 levels, the larger
        steps first, by default.
    objective
        What counts the resources: a class with the parameters of
        :class:`fabricfit.objectives.fpga.FPGAResources`, for example
        :class:`fabricfit.objectives.fpga_luts.AdderGraphResources`, which counts the LUTs of layers of
        constants in their adder graphs.
    reuse
        The result of an earlier run of the same model, data and settings, for another budget: its
        regularization strengths are not searched for again, and a tighter budget starts from where the
        looser one ended.
    documents
        File name -> text: further files for the run's folder.
    precision
        ``'given'`` or ``'trained'``; by default ``'given'`` where the configuration states a precision or
        layers of the model do (those of QKeras and HGQ2), and ``'trained'`` where nothing does. Quantized
        layers are plain layers of Keras first where precision is trained, with their weights as floats, and
        separable convolutions are two layers. Trained precision uses all ``epochs`` of the settings as one
        training, some hundreds of them, in which the learning rate falls from 5 times the optimizer's own
        to half of it, again and again. With ``rtol=None`` the best network within the budget is returned,
        with a number the cheapest one that is as good. Callbacks and ``distillation`` are heeded; what
        concerns levels does not matter.
    granularity
        With trained precision: ``'tensor'``, one number format for a tensor; what comes back is a plain
        Keras model. ``'channel'``, one for each channel, which is cheaper; then
        quantizer layers of HGQ2 (extra ``hgq``) are part of the model.
    saturating
        With trained precision: the part of the numbers of each input that may saturate. Inputs arrive in
        their number formats, so that they saturate in front of the network, where it costs nothing.
    overflow
        With trained precision: what becomes of numbers inside the network that are larger than any in the
        training and validation data. ``'saturate'`` bounds the damage; ``'wrap'`` leaves out the logic for
        it, some 5 to 8 % of the LUTs, and lets such a number change its sign.
    part, clock_ns, tool, binding
        What the design is built for and with, as for :func:`fabricfit.estimate`; what is not given is what
        the budget or the configuration says.
    margin
        How much of the error bar of what is counted has to be within the budget: 0 for the most likely
        value, 1 for the upper end. By default what the budget says, which is 0 if nothing else.

    Returns
    -------
    OptimizationResult
        ``model`` has its weights on hls4ml's grid, so that what was pruned is exactly zero;
        ``hls_config`` converts it so that the savings are real; ``report`` holds what every layer uses
        of each resource before and after, how it is built, and the budget. Before is what
        :func:`fabricfit.estimate` says of the given model and configuration, and a relative budget is
        relative to that; after is what it says of ``model`` and ``hls_config``. Where the configuration
        asks for Resource, a layer is built with ResourceUnrolled, which leaves out the multipliers of
        pruned weights, unless plain Resource uses less. A model that fits as it is comes back with its
        weights on the grid.

    Raises
    ------
    InfeasibleError
        The budget cannot be met. Nothing has been trained or written then.
    InvalidInputError
        hls4ml would build something else of the model, or nothing. Nothing has been trained or written then.
    FabricFitError
        The input cannot be worked with. Nothing has been trained or written then.
    """
    if not isinstance(budget, Budget):
        raise InvalidTypeError(
            "budget must be a fabricfit.Budget, for example Budget.device('pynq-z2'). "
            f"Received: {budget!r}"
        )
    whole = as_network(model)
    config = open_configuration({} if hls_config is None else hls_config, whole)
    asked = {"part": part, "clock_ns": clock_ns, "tool": tool, "binding": binding}
    budget = choose_budget(config, budget, **asked)
    if margin is not None:
        budget = budget.with_margin(margin)
    if choose_precision(precision, config, whole) == "trained":
        refuse_given_only({"scheduler": scheduler, "reuse": reuse})
        data = (train_data, validation_data)
        formats = TrainedFormats(granularity, saturating, overflow)
        return fit_one(whole, config, budget, data, settings, formats, documents)
    settings = settings.ranked_by("saliency")
    kind = _check_objective(objective)
    given = _count_given(whole, config, objective_of(budget, kind))
    network = replace_scalings(fold_normalizations(whole))
    if read_io_type(config) == "io_stream":
        network = replace_whole_pooling(network)
    without_layers(config, whole, whole.layers.keys() - network.layers.keys())
    state_every_call(config, network)
    attributes = describe_for_hls4ml(network, config)
    describe_matrices(network, attributes, config)
    attributes = fit_fifos(attributes, objective_of(budget, kind), budget, given.total)
    realized = realize_configuration(attributes, config, budget.target)
    limits = list_limits(network, attributes, realized.config)
    refuse_limits(limits, "fabricfit.fit")
    warn_of_limits(limits)
    counted = objective_for(budget, attributes, network.kernel_arrays(), kind, given.total)

    def make_target(decisions: Decisions, kernels: Mapping[str, Any]) -> BudgetTarget:
        return BudgetTarget(
            decisions.attributes,
            counted,
            budget,
            kernels,
            given.total,
            metric=settings.ranking_metric,
            minimum_groups=settings.minimum_groups,
            reasons=decisions.reasons,
        )

    levels = scheduler or PolynomialScheduler(defaults.LEVELS, final_sparsity=1.0)
    documents = {HLS_CONFIG: _to_text(realized.config), **(documents or {})}
    setup = set_up(
        network,
        attributes,
        counted,
        make_target,
        levels,
        (train_data, validation_data),
        settings,
        finish=quantize_in_place,
        reuse=reuse,
        documents=documents,
        given=given,
        hls_config=realized.config,
    )
    result = run(setup)
    realized = _realize_result(setup, attributes, config, counted)
    text = _to_text(realized.config)
    RunDirectory.existing(result.directory).write(HLS_CONFIG, lambda path: path.write_text(text))
    return replace(result, hls_config=realized.config)


def _count_given(
    network: Network, config: Mapping[str, Any], objective: FPGAResources
) -> GivenDesign:
    """Count what hls4ml would build of a model as it is given: what :func:`fabricfit.estimate` counts."""
    with warnings.catch_warnings():  # of what is said of the network that is fitted
        warnings.simplefilter("ignore")
        built, attributes = describe_as_built(network, config)
    return GivenDesign.of(attributes, built.kernel_arrays(), objective)


def _realize_result(
    setup: RunSetup,
    attributes: Mapping[str, LayerAttributes],
    config: Mapping[str, Any],
    objective: FPGAResources,
) -> Realized:
    """Return the configuration that builds every layer of the result as it was counted."""
    if objective.removes_units:
        return realize_configuration(attributes, config, objective.target)
    kernels = setup.engine.network.kernel_arrays()  # as they were handed out
    as_asked = {
        name for name in kernels if objective.builds_as_asked(attributes[name], kernels[name])
    }
    return realize_configuration(attributes, config, objective.target, as_asked)


def _to_text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2) + "\n"


def _check_objective(objective: Any) -> type[FPGAResources]:
    if isinstance(objective, type) and issubclass(objective, FPGAResources):
        return objective
    raise InvalidTypeError(
        "objective must be a subclass of fabricfit.objectives.fpga.FPGAResources, which counts the "
        f"resources of a budget. Received: {objective!r}. Other objectives are for fabricfit.optimize."
    )
