"""The way from an objective by class methods to the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fabricfit.choices import Choices, Treatment
from fabricfit.choices.ranking import Criterion
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidTypeError, code_of_others, spell
from fabricfit.objectives.base import Amounts, Kernels, Objective
from fabricfit.objectives.estimator import ObjectiveEstimator

__all__ = ["EstimatorObjective", "ObjectiveLike", "as_objective"]

ObjectiveLike = Objective | type[Objective] | ObjectiveEstimator | type[ObjectiveEstimator]
"""What callers may pass as an objective; :func:`as_objective` makes the core of it."""


class EstimatorObjective(Objective):
    """The core of an objective that is written as an :class:`ObjectiveEstimator`.

    Parameters
    ----------
    estimator
        The class, or an instance of it.
    """

    def __init__(self, estimator: ObjectiveEstimator | type[ObjectiveEstimator]) -> None:
        self.estimator: Any = estimator
        self.units = tuple(getattr(estimator, "units", ()))
        self.offers_choices = bool(estimator.offers_choices)
        self.counts_all_layers = bool(estimator.counts_all_layers)
        self.removes_units = bool(estimator.removes_units)

    @property
    def name(self) -> str:
        """What messages call it: the estimator's class."""
        kind = self.estimator if isinstance(self.estimator, type) else type(self.estimator)
        return kind.__name__

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The state of an instance."""
        return {} if isinstance(self.estimator, type) else vars(self.estimator)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        with code_of_others(f"{self.name}.{method}"):
            return getattr(self.estimator, method)(*arguments, **options)

    def groups(self, layer: LayerAttributes) -> OptimizationAttributes | None:
        """Return the groups that ``is_layer_optimizable`` states."""
        optimizable, settings = self._ask("is_layer_optimizable", layer)
        return settings if optimizable else None

    def usage(self, layer: LayerAttributes, kernel: np.ndarray | None = None) -> Amounts:
        """Return the usage by ``layer_resources``, or with weights by ``layer_use``."""
        if kernel is None:
            return _as_amounts(self._ask("layer_resources", layer))
        return _as_amounts(self._ask("layer_use", layer, kernel))

    def saving(self, layer: LayerAttributes) -> Amounts:
        """Return the saving of one group by ``layer_savings``."""
        return _as_amounts(self._ask("layer_savings", layer))

    def usage_without(self, layer: LayerAttributes, removed: int) -> Amounts:
        """Return the usage without some groups by ``layer_utilization``."""
        return _as_amounts(self._ask("layer_utilization", layer, removed))

    def model_usage_without(
        self, attributes: Mapping[str, LayerAttributes], removed: Mapping[str, int]
    ) -> Amounts:
        """Return the usage of a model without some groups by ``model_utilization``."""
        return _as_amounts(self._ask("model_utilization", attributes, removed))

    def model_usage(self, attributes: Mapping[str, LayerAttributes], kernels: Kernels) -> Amounts:
        """Return the usage of a model with its weights by ``model_use``."""
        return _as_amounts(self._ask("model_use", attributes, kernels))

    def reduced_usage(
        self,
        attributes: Mapping[str, LayerAttributes],
        sizes: Mapping[str, tuple[int, int]],
    ) -> Amounts:
        """Return the usage of a smaller model by ``reduced_utilization``."""
        return _as_amounts(self._ask("reduced_utilization", attributes, sizes))

    def choices(
        self,
        layer: LayerAttributes,
        kernel: np.ndarray,
        *,
        metric: str | Criterion = "l1",
        statistics: Mapping[str, np.ndarray] | None = None,
        minimum_groups: int = 1,
    ) -> Choices:
        """Return the treatments to choose from by ``layer_choices``."""
        found: Choices = self._ask(
            "layer_choices",
            layer,
            kernel,
            metric=metric,
            statistics=statistics,
            minimum_groups=minimum_groups,
        )
        return found

    def treated_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the usage of treated weights by ``treated_use``."""
        return _as_amounts(self._ask("treated_use", layer, kernel, treatment))

    def reason(self, layer: LayerAttributes) -> str:
        """Return why nothing can be saved by the estimator's own ``reason``."""
        return str(self._ask("reason", layer))


def as_objective(objective: ObjectiveLike) -> Objective:
    """Return the core of an objective.

    Parameters
    ----------
    objective
        An :class:`~.base.Objective` or an :class:`ObjectiveEstimator`, as an instance or a class.

    Raises
    ------
    InvalidTypeError
        It is something else.
    """
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, ObjectiveEstimator):
        return EstimatorObjective(objective)
    if isinstance(objective, type) and issubclass(objective, ObjectiveEstimator):
        return EstimatorObjective(objective)
    if isinstance(objective, type) and issubclass(objective, Objective):
        try:
            return objective()
        except TypeError as error:  # an abstract one, or one that needs to be told something
            raise InvalidTypeError(
                f"objective must be made before it is passed, if not {objective.__name__}() makes one. "
                f"Python says: {error}"
            ) from error
    raise InvalidTypeError(
        "objective must be an Objective or an ObjectiveEstimator, as a class or an instance of it. "
        f"Received: {spell(objective)}"
    )


def _as_amounts(answer: Any) -> Amounts:
    """Return an estimator's answer as an array, NaN where it is no list of numbers."""
    try:
        return np.atleast_1d(np.asarray(answer, np.float64))
    except (TypeError, ValueError):
        return np.array([np.nan])
