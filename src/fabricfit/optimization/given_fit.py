"""Fit with given number formats: groups of weights are chosen by a knapsack, in levels of fine-tuning."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fabricfit.description.attributes import LayerAttributes
from fabricfit.firmware.quantization import quantize_in_place
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.realize import Realized, realize_configuration
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.buildable import list_limits, refuse_limits, warn_of_limits
from fabricfit.network.configuration import state_every_call, without_layers
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.estimation import describe_as_built
from fabricfit.network.reader import Network
from fabricfit.network.scalings import replace_scalings
from fabricfit.network.unknown_layers import describe_matrices
from fabricfit.network.whole_pooling import replace_whole_pooling
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.stream_memory import fit_fifos
from fabricfit.optimization.arguments import check_fpga_objective
from fabricfit.optimization.built_design import BuiltDesign, describe_built
from fabricfit.optimization.deadlines import refuse_late
from fabricfit.optimization.eligible_layers import Decisions
from fabricfit.optimization.optimize import OptimizationResult, run
from fabricfit.optimization.savings import GivenDesign
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import RunSetup, set_up
from fabricfit.run import RunDirectory, defaults
from fabricfit.run.files import HLS_CONFIG, REPORT
from fabricfit.scheduler import OptimizationScheduler, PolynomialScheduler
from fabricfit.selection.choice_targets import BudgetTarget, objective_for, objective_of

__all__ = ["GivenFit", "fit_given", "prepare_given"]


@dataclass(frozen=True)
class GivenFit:
    """A fit with given number formats that is ready to run.

    Parameters
    ----------
    setup
        What its run works with.
    attributes
        Layer -> attributes of the network that is fitted.
    config
        The configuration, as it was opened.
    budget
        The limits.
    objective
        What counts the resources.
    given
        What the model uses as it was given.
    """

    setup: RunSetup
    attributes: Mapping[str, LayerAttributes]
    config: Mapping[str, Any]
    budget: Budget
    objective: FPGAResources
    given: GivenDesign

    def deliver(self, result: OptimizationResult) -> OptimizationResult:
        """Return the result of the run with the configuration that builds it, and write that."""
        realized = _realize_result(self.setup, self.attributes, self.config, self.objective)
        removes = self.objective.removes_units
        model = result.model if removes else self.setup.engine.network  # as it was handed out
        built = describe_built(model, realized.config, self.budget)
        return _complete(result, realized.config, built, self.given)


def fit_given(
    whole: Network,
    config: dict[str, Any],
    budget: Budget,
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    **options: Any,
) -> OptimizationResult:
    """Fit a network to a budget; the arguments are those of :func:`prepare_given`."""
    prepared = prepare_given(whole, config, budget, data, settings, **options)
    return prepared.deliver(run(prepared.setup))


def prepare_given(
    whole: Network,
    config: dict[str, Any],
    budget: Budget,
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    *,
    scheduler: OptimizationScheduler | None = None,
    objective: type[FPGAResources] = FPGAResources,
    reuse: OptimizationResult | None = None,
    documents: Mapping[str, str] | None = None,
    always_trains: bool = False,
) -> GivenFit:
    """Prepare a fit to a budget; the other arguments are those of :func:`fabricfit.fit`, opened.

    Parameters
    ----------
    always_trains
        Whether a network that fits as it is is fine-tuned nevertheless, within the budget.

    Raises
    ------
    InfeasibleError
        The budget cannot be met, or a deadline not kept.
    InvalidInputError
        hls4ml would build something else of the model, or nothing.
    """
    kind = check_fpga_objective(objective)
    settings = settings.ranked_by("removal" if kind.removes_units else "saliency")
    given = _count_given(whole, config, objective_of(budget, kind))
    network = replace_scalings(fold_normalizations(whole))
    if read_io_type(config) == "io_stream":
        network = replace_whole_pooling(network)
    without_layers(config, whole, whole.layers.keys() - network.layers.keys())
    state_every_call(config, network)
    attributes = describe_for_hls4ml(network, config)
    describe_matrices(network, attributes, config)
    attributes = fit_fifos(attributes, objective_of(budget, kind), budget, given.total)
    refuse_late(budget, attributes, network.kernel_arrays())
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
        data,
        settings,
        finish=quantize_in_place,
        reuse=reuse,
        documents=documents,
        given=given,
        hls_config=realized.config,
        always_trains=always_trains,
    )
    return GivenFit(setup, attributes, config, budget, counted, given)


def _complete(
    result: OptimizationResult, config: dict[str, Any], built: BuiltDesign, given: GivenDesign
) -> OptimizationResult:
    """Return a result with the configuration that builds it and what that means, and write both."""
    report = replace(
        result.report,
        timing=built.timing(given.estimate),
        built=built.layers,
        built_for=built.built_for,
    )
    folder, text = RunDirectory.existing(result.directory), _to_text(config)
    folder.write(HLS_CONFIG, text)
    folder.write_json(REPORT, report.to_dict())
    return replace(result, hls_config=config, report=report)


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
