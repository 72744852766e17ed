"""What a run is worth beside what is simpler to do: uniform magnitude pruning, or a larger reuse factor."""

from __future__ import annotations

import copy
import logging
import math
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.description.verdicts import Verdict, compare_with_limit, worst_verdict
from fabricfit.errors import FabricFitError, InfeasibleError
from fabricfit.firmware.metric_errors import difference_error
from fabricfit.firmware.metrics import measure
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.resource_records import resource_names
from fabricfit.hls4ml.config import default_configuration
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.reuse_factor import valid_reuse_factors
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.cloning import copy_model
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_network
from fabricfit.network.estimation import describe_as_built
from fabricfit.network.reader import Network, read
from fabricfit.network.scalings import replace_scalings
from fabricfit.objectives.parameters import ParameterEstimator
from fabricfit.optimization.built_design import describe_built
from fabricfit.optimization.hardware_metric import select_samples
from fabricfit.optimization.optimize import optimize
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import open_both
from fabricfit.reporting.alternatives import Alternative, SimpleAlternatives
from fabricfit.reporting.report import OptimizationReport
from fabricfit.scheduler import PolynomialScheduler

__all__ = ["Origin"]

logger = logging.getLogger(__name__)

_ROUNDS = 3
"""How often weights are pruned and trained until what they came to is within the budget."""
_STEPS = 256
"""Parts of the weights, so many of which are pruned."""
_MOST_FACTORS = 64
"""Reuse factors that are tried."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What a run began with: references, not copies.

    Parameters
    ----------
    network
        What was read of the model.
    config
        hls4ml's configuration as it was given, opened.
    budget
        The limits, with the target.
    data
        For training and for validation.
    settings
        How the run was done.
    """

    network: Network
    config: Mapping[str, Any]
    budget: Budget
    data: tuple[Any, Any]
    settings: OptimizationSettings

    def compare(
        self,
        model: keras.Model,
        hls_config: Mapping[str, Any],
        report: OptimizationReport,
    ) -> SimpleAlternatives:
        """Set a result beside uniform magnitude pruning and a larger reuse factor, for the same budget.

        Pruning removes the smallest weights, at the same fraction in each layer, the least with which the
        design is within the budget, and trains the others for as many epochs as the run; where trained
        weights come to use more, more of them are pruned, and trained again. The reuse factor is the smallest
        one that is within the budget for all layers alike, with the strategy Resource and nothing pruned or
        trained. Number formats are those that were given, else hls4ml's defaults.

        Parameters
        ----------
        model, hls_config, report
            What the run handed out.
        """
        with tempfile.TemporaryDirectory(prefix="fabricfit-") as folder:
            return _compare_with_simple(self, model, hls_config, report, Path(folder))


@dataclass(frozen=True, eq=False)
class _Design:
    """A model and the configuration that builds it, with what that uses."""

    model: keras.Model
    config: dict[str, Any]
    estimate: ModelEstimate
    epochs: int = 0


def _compare_with_simple(
    origin: Origin,
    model: keras.Model,
    hls_config: Mapping[str, Any],
    report: OptimizationReport,
    directory: Path,
) -> SimpleAlternatives:
    evaluator = _Evaluator(origin, report)
    own = evaluator.evaluate(model, hls_config)
    found = [
        Alternative(
            "fabricfit",
            "",
            1.0,
            report.metric_after if own is None else evaluator.value(own),
            report.resources_after,
            *_list_times(report),
            str(report.verdict),
            0.0,
        )
    ]
    network = replace_scalings(fold_normalizations(origin.network))
    makers = (
        ("uniform magnitude pruning", _prune),
        ("a larger reuse factor", _reuse),
    )
    for name, make in makers:
        try:
            design = make(origin, network, evaluator, directory)
        except FabricFitError as error:
            logger.info("%s cannot be compared: %s", name, error)
            found.append(_fail(name, str(error)))
            continue
        found.append(evaluator.describe(name, design, own))
    return SimpleAlternatives(
        tuple(found), report.units, report.metric_name, report.budget or (), len(evaluator.samples)
    )


class _Evaluator:
    """Evaluates designs on the run's validation samples, and by the run's limits."""

    def __init__(self, origin: Origin, report: OptimizationReport) -> None:
        self.report, self._budget = report, origin.budget
        settings, ends = origin.settings, origin.network.ends
        self.loss = ModelLoss(settings.loss_fn, settings.loss_weights, ends.outputs)
        metric = ModelMetric(settings.validation_metric, ends.outputs)
        _, validation = open_both(origin.network, origin.data, settings, (self.loss, metric))
        self.samples = select_samples(validation, origin.network)
        self.metric = metric

    def evaluate(self, model: keras.Model, config: Mapping[str, Any]) -> list[np.ndarray] | None:
        """Return the outputs of the network that hls4ml builds; None where it is not emulated."""
        network = read(model)
        try:
            built = QuantizedNetwork(network, open_configuration(config, network, lenient=True))
            outputs = built.predict([np.asarray(x) for x in keras.tree.flatten(self.samples.X)])
        except FabricFitError as error:
            logger.info("its metric is not known, since it cannot be emulated: %s", error)
            return None
        self.metric = self.metric.suited(self.samples.y, outputs)
        return outputs

    def value(self, outputs: list[np.ndarray]) -> float:
        """Return the metric of outputs."""
        return float(np.mean([*measure(self.metric, self.samples.y, outputs, self.loss).values()]))

    def verdict(self, estimate: ModelEstimate) -> Verdict:
        """Return whether a design is within the run's limits, and its deadlines."""
        used = self.usage(estimate)
        limits = self.report.budget or ()
        verdicts = [
            compare_with_limit(used[unit].value, used[unit].high, limit)
            for unit, limit in zip(self.report.units, limits, strict=True)
        ]
        return worst_verdict((*verdicts, *(each.verdict for each in estimate.timings)))

    def usage(self, estimate: ModelEstimate) -> dict[str, Any]:
        """Return what a design uses, by the report's names of resources."""
        compared = estimate.compared
        return {estimate.label(name): compared[name] for name in resource_names()}

    def describe(self, name: str, design: _Design, own: list[np.ndarray] | None) -> Alternative:
        """Return a design beside the result, whose outputs are given."""
        verdict = self.verdict(design.estimate)
        outputs = self.evaluate(design.model, design.config)
        value = error = math.nan
        if outputs is not None:
            value = self.value(outputs)
        if outputs is not None and own is not None:
            error = difference_error(self.metric, self.samples.y, outputs, own, self.loss)
        used = self.usage(design.estimate)
        times = {each.name: each.ns for each in design.estimate.timings}
        return Alternative(
            name,
            _say_built(design),
            1.0 if design.epochs else 0.0,
            value,
            tuple(float(used[unit].value) for unit in self.report.units),
            times["latency"],
            times["interval"],
            str(verdict),
            error,
        )


def _say_built(design: _Design) -> str:
    kernels = [each for each in design.estimate.layers if each.strategy]
    if design.epochs:
        weights, left = (
            sum(getattr(each, name) for each in kernels) for name in ("weights", "nonzeros")
        )
        share = 1 - left / max(weights, 1)
        return (
            f"{share:.1%} of the weights of each layer pruned, {design.epochs} epochs of training"
        )
    factors = sorted({each.reuse_factor for each in kernels})
    ends = f"{factors[0]}" if len(factors) == 1 else f"{factors[0]} to {factors[-1]}"
    return f"reuse factor {ends}, as hls4ml builds it; nothing pruned or trained"


def _fail(name: str, reason: str) -> Alternative:
    return Alternative(name, "", 0.0, math.nan, (), math.nan, math.nan, reason)


def _list_times(report: OptimizationReport) -> tuple[float, float]:
    times = {each.name: each.ns for each in report.timing}
    return times.get("latency", math.nan), times.get("interval", math.nan)


def _prune(origin: Origin, network: Network, evaluator: _Evaluator, directory: Path) -> _Design:
    """Return the network with the smallest weights of each layer pruned, and the others trained."""
    config = _base_configuration(origin.config)
    settings = replace(
        origin.settings,
        epochs=max(_count_epochs(evaluator.report, origin.settings), 1),
        rtol=None,
        max_drop=None,
        ranking_metric="l1",
        local=True,
        tuner=None,
        rewinding_epochs=0,
        patience=None,
        compensation=0,
        distillation=0.0,
        callbacks=None,
        resume=False,
        verbose=False,
        directory=directory,
    )
    model, trained, least = copy_model(network.model), 0, 0
    for _ in range(_ROUNDS):
        least = _find_steps(model, config, evaluator, origin.budget, least)
        if least:
            scheduler = PolynomialScheduler(1, final_sparsity=least / _STEPS)
            attributes = describe_network(read(model))
            result = optimize(
                model, attributes, ParameterEstimator, scheduler, *origin.data, settings
            )
            model = result.model
            trained += sum(level.epochs for level in result.history)
        estimate = describe_built(model, config, origin.budget).estimate
        if evaluator.verdict(estimate) is not Verdict.DOES_NOT_FIT:
            break
        least += 1
    return _Design(model, config, estimate, trained)


def _find_steps(
    model: keras.Model, config: Mapping[str, Any], evaluator: _Evaluator, budget: Budget, least: int
) -> int:
    """Return the least part of the weights, in 256ths, whose pruning makes a design fit.

    Raises
    ------
    InfeasibleError
        None does.
    """
    network = read(model)
    with warnings.catch_warnings():  # of what was said before the run
        warnings.simplefilter("ignore")
        opened = open_configuration(config, network, lenient=True)
        built, attributes = describe_as_built(network, opened)
    kernels = built.kernel_arrays()

    def estimate(steps: int) -> ModelEstimate:
        pruned = {name: _zero_smallest(each, steps / _STEPS) for name, each in kernels.items()}
        return estimate_layers(attributes, pruned, target=budget.target, budget=budget)

    low, high = least, _STEPS - 1
    most = estimate(high)
    if evaluator.verdict(most) is Verdict.DOES_NOT_FIT:
        used = evaluator.usage(most)
        named = ", ".join(f"{used[unit].value:,.0f} {unit}" for unit in evaluator.report.units)
        raise InfeasibleError(
            f"does not fit, however many weights are pruned: {named} with {high / _STEPS:.1%} of them"
        )
    while low < high:
        middle = (low + high) // 2
        fits = evaluator.verdict(estimate(middle)) is not Verdict.DOES_NOT_FIT
        low, high = (low, middle) if fits else (middle + 1, high)
    return low


def _zero_smallest(kernel: np.ndarray, part: float) -> np.ndarray:
    count = round(part * kernel.size)
    found = kernel.copy()
    found.flat[np.argsort(np.abs(kernel), axis=None, kind="stable")[:count]] = 0
    return found


def _count_epochs(report: OptimizationReport, settings: OptimizationSettings) -> int:
    """Return how many epochs a run was trained: those of its levels, or of its training of precision."""
    epochs = [level.epochs for level in report.levels]
    return settings.epochs if report.formats or not any(epochs) else sum(epochs)


def _reuse(origin: Origin, network: Network, evaluator: _Evaluator, directory: Path) -> _Design:
    """Return the network as it is, with the smallest reuse factor that is within the budget."""
    tried = None
    for factor in _list_factors(network):
        config = _base_configuration(origin.config)
        inner = config.get("HLSConfig", config)
        inner["Model"] |= {"Strategy": "Resource", "ReuseFactor": factor}
        for section in (
            each for name in ("LayerName", "LayerType") for each in inner.get(name, {}).values()
        ):
            section.pop("Strategy", None)
            section.pop("ReuseFactor", None)
        tried = _Design(
            network.model, config, describe_built(network, config, origin.budget).estimate
        )
        if evaluator.verdict(tried.estimate) is not Verdict.DOES_NOT_FIT:
            return tried
    raise InfeasibleError(
        "does not fit, whatever the reuse factor" + ("" if tried else ": there is none")
    )


def _list_factors(network: Network) -> list[int]:
    """Return the reuse factors of any layer above 1, some of them where there are many."""
    kernels = network.kernel_arrays()
    found: set[int] = set()
    for kernel in kernels.values():
        columns = kernel.shape[-1]
        found |= set(valid_reuse_factors(kernel.size // columns, columns))
    factors = sorted(found - {1})
    places = np.linspace(0, len(factors) - 1, min(len(factors), _MOST_FACTORS)).round().astype(int)
    return [factors[place] for place in places]


def _base_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration, with hls4ml's defaults for what it does not say of the model."""
    found: dict[str, Any] = copy.deepcopy(dict(config))
    inner = found.get("HLSConfig", found)
    inner["Model"] = {**default_configuration()["Model"], **(inner.get("Model") or {})}
    return found
