"""Fit where nothing is stated of the design: designs are chosen by the laws, and compete in training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.errors import FabricFitError
from fabricfit.hardware.budget import Budget
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import Network
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.optimization.chosen_design import ChosenDesign, list_designs
from fabricfit.optimization.comparison import Comparison
from fabricfit.optimization.design_race import Candidate, Race
from fabricfit.optimization.given_fit import fit_given
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.trained_fit import fit_one
from fabricfit.optimization.trained_setup import TrainedFormats
from fabricfit.scheduler import OptimizationScheduler

__all__ = ["OpenDesign", "fit_open"]

logger = logging.getLogger(__name__)

ReadSettings = Callable[[bool], OptimizationSettings]
"""Whether number formats are trained -> the settings of such a run."""


@dataclass(frozen=True)
class OpenDesign:
    """What a design is chosen from.

    Parameters
    ----------
    designs
        How many are tried at most.
    trained
        Whether one with trained precision is among them.
    given
        Whether those with given number formats are.
    formats
        Which number formats are trained.
    """

    designs: int
    trained: bool
    given: bool
    formats: TrainedFormats


def fit_open(
    model: keras.Model,
    whole: Network,
    config: dict[str, Any],
    budget: Budget,
    data: tuple[Any, Any],
    settings: ReadSettings,
    design: OpenDesign,
    *,
    scheduler: OptimizationScheduler | None = None,
    objective: type[FPGAResources] = FPGAResources,
    reuse: OptimizationResult | None = None,
    documents: Mapping[str, str] | None = None,
) -> OptimizationResult:
    """Choose a design of a network and fit it; other arguments are those of :func:`fabricfit.fit`, opened.

    Parameters
    ----------
    design
        What it is chosen from.

    Raises
    ------
    InfeasibleError
        The budget cannot be met with any design, or a deadline not kept.
    """
    candidates: list[Candidate] = []
    if design.trained:

        def train(own: OptimizationSettings) -> OptimizationResult:
            return fit_one(whole, config, budget, data, own, design.formats, documents)

        slow = Candidate("trained precision", "", settings(True), train, learns_slowly=True)
        candidates.append(slow)
    if design.given:
        own = settings(False)
        try:
            most = design.designs - len(candidates)
            chosen = list_designs(model, config, budget, data[0], own, most)
        except FabricFitError as error:
            if not candidates:
                raise
            logger.info("there is no design of given number formats: %s", error)
            chosen = []
        for each in chosen:
            candidates.append(
                Candidate(
                    each.name,
                    each.built,
                    own,
                    _fit_chosen(
                        each, whole, budget, data, scheduler, objective, reuse, documents or {}
                    ),
                )
            )
    comparison = Comparison(whole, data, candidates[0].settings)
    return Race(candidates, comparison).run()


def _fit_chosen(
    chosen: ChosenDesign,
    whole: Network,
    budget: Budget,
    data: tuple[Any, Any],
    scheduler: OptimizationScheduler | None,
    objective: type[FPGAResources],
    reuse: OptimizationResult | None,
    documents: Mapping[str, str],
) -> Callable[[OptimizationSettings], OptimizationResult]:
    """Return what prunes a network within a design."""

    def fit(own: OptimizationSettings) -> OptimizationResult:
        return fit_given(
            whole,
            open_configuration(chosen.config, whole),
            budget,
            data,
            own,
            scheduler=scheduler,
            objective=objective,
            reuse=reuse,
            documents={**chosen.documents(), **documents},
            always_trains=True,
        )

    return fit
