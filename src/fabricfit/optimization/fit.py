"""``fabricfit.fit``: a model made to fit a budget of an FPGA's resources."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import keras

from fabricfit.checks import optional_number, whole_number
from fabricfit.hardware.budget_forms import BudgetLike, as_budget
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.target import choose_budget
from fabricfit.loading.load import load_model
from fabricfit.network.configuration import open_configuration
from fabricfit.network.finite import open_network
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.optimization.arguments import check_arguments
from fabricfit.optimization.chosen_design import leaves_design_open, why_not_unrolled
from fabricfit.optimization.compiled_settings import (
    TRAINED_EPOCHS,
    RunOptions,
    read_seed,
    read_settings,
)
from fabricfit.optimization.given_fit import fit_given
from fabricfit.optimization.older_call import accept_older_order
from fabricfit.optimization.open_fit import OpenDesign, fit_open
from fabricfit.optimization.optimize import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.simple_alternatives import Origin
from fabricfit.optimization.trained_fit import choose_precision, fit_one, refuse_given_only
from fabricfit.optimization.trained_setup import TrainedFormats
from fabricfit.samples.held_back import divide_samples
from fabricfit.scheduler import OptimizationScheduler

__all__ = ["fit"]

logger = logging.getLogger(__name__)


@accept_older_order
def fit(
    model: keras.Model | str | os.PathLike[str],
    train_data: Any,
    validation_data: Any,
    budget: BudgetLike,
    settings: OptimizationSettings | None = None,
    *,
    hls_config: ConfigurationLike | None = None,
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
    designs: int = 4,
    **options: Unpack[RunOptions],
) -> OptimizationResult:
    """Make a model fit a budget: prune, share and round its weights, or train its number formats.

    With ``precision='trained'`` the bits of each weight and of each tensor are trained together with the
    weights, at a price that follows the budget (:mod:`fabricfit.precision`): products become a few adders,
    and the network that comes back uses no DSP for them. With ``'given'`` number formats are those of the
    configuration, and groups of weights are chosen by a knapsack.

    Parameters
    ----------
    model
        A built model, or a file that :func:`fabricfit.load_model` reads. It is not changed. Of a subclassed
        one a functional copy is worked with, see
        :func:`fabricfit.network.tracing.traced`. Batch normalizations
        behind and before layers with a kernel are folded into them first, wherever that is exact;
        Rescaling and Normalization, which hls4ml does not know, become batch normalizations that do not
        train where they cannot be folded.
    train_data, validation_data
        ``(X, y)`` or ``(X, y, weights)``, each part in any structure that Keras accepts, or anything that
        yields such batch by batch: see :func:`fabricfit.samples.open_data`. A number in the place of
        ``validation_data`` is the part of the training samples that is held back for it, drawn by the seed.
    budget
        What the design may use, and its deadlines: a budget, ``'pynq-z2'`` for all that a board has,
        ``'pynq-z2@80%'``, ``{'dsp': 100}`` or ``{'dsp': '50%'}``, see
        :func:`fabricfit.hardware.budget_forms.as_budget`.
        Strategies and reuse factors are given, and with them the
        time that the design needs, so that a deadline is checked and not traded for resources. At least one
        resource is to be limited.
    settings
        How it is done, all of it in one object; or leave it out, and name what is to differ from the defaults
        in ``options``.
    hls_config
        How hls4ml is to build it: what ``hls4ml.utils.config_from_keras_model`` returns, or the part of
        it that matters, with an ``'IOType'`` if it is not ``'io_parallel'``; or a file of either, such as
        the ``hls4ml_config.yml`` of a project. Without its section ``'Model'``, or None, the design is
        chosen: trained precision, where a network of adders can be within the budget, competes with designs
        whose number formats, strategies, reuse factors and ``'IOType'`` are those of
        :func:`fabricfit.optimization.chosen_design.list_designs`; what is stated of single layers is kept.
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
    designs
        How many designs are tried at most where the design is chosen. More than two are trained for an eighth
        of their epochs, and the best two to their end; the report names all of them. With 1, precision is
        trained where that can be within the budget, and otherwise the design of the least predicted loss is
        taken.
    options
        What :class:`fabricfit.OptimizationSettings` has by these names, and ``loss`` and ``metric`` for its
        ``loss_fn`` and ``validation_metric``. Loss, metric and optimizer are those that the model was
        compiled with, and ``rtol`` is None, so that the budget is met whatever it costs. Where the design is
        chosen, ``epochs`` are those of a level, and a training of precision has 12 times as many. The other
        defaults:
        :func:`fabricfit.optimization.compiled_settings.read_settings`.

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
        The budget cannot be met, or a deadline not kept. Nothing has been trained or written then.
    InvalidInputError
        hls4ml would build something else of the model, or nothing. Nothing has been trained or written then.
    FabricFitError
        The input cannot be worked with. Nothing has been trained or written then.
    """
    check_arguments(scheduler, reuse, documents, objective)
    formats = TrainedFormats(granularity, saturating, overflow)
    designs = whole_number("designs", designs)
    optional_number("margin", margin, least=0, most=1)
    asked_for = as_budget(budget)
    if isinstance(model, str | os.PathLike):
        model = load_model(model)
    seed = read_seed(settings, options)
    train_data, validation_data = divide_samples(train_data, validation_data, seed)
    whole = open_network(model)
    config = open_configuration({} if hls_config is None else hls_config, whole)
    asked = {"part": part, "clock_ns": clock_ns, "tool": tool, "binding": binding}
    limits = choose_budget(config, asked_for, margin=margin, **asked)
    trained = choose_precision(precision, config, whole) == "trained"

    is_open = leaves_design_open(config) and not (trained and precision is not None)

    def read(trains: bool) -> OptimizationSettings:
        if not is_open:
            return read_settings(model, train_data, settings, options, trained=trains)
        own = read_settings(model, train_data, settings, options, trained=False)
        return replace(own, epochs=TRAINED_EPOCHS * own.epochs) if trains else own

    def remember(result: OptimizationResult, own: OptimizationSettings) -> OptimizationResult:
        return replace(result, simple=Origin(whole, config, limits, data, own).compare)

    data, given_only = (train_data, validation_data), {"scheduler": scheduler, "reuse": reuse}
    read(trained)  # refuses what cannot be, before a design is chosen
    if trained and not is_open:
        refuse_given_only(given_only)
        own = read(True)
        return remember(fit_one(whole, config, limits, data, own, formats, documents), own)
    if is_open:
        why = why_not_unrolled(whole, config, limits) if trained else ""
        if why:
            logger.warning("number formats are calibrated, not trained: %s", why)
        trained = trained and not why
        if trained:
            refuse_given_only(given_only)
        # A relative budget is relative to a design, and only trained precision has one to begin with.
        given = not trained or (designs > 1 and not limits.is_relative)
        result = fit_open(
            model,
            whole,
            config,
            limits,
            data,
            read,
            OpenDesign(designs, trained, given, formats),
            scheduler=scheduler,
            objective=objective,
            reuse=reuse,
            documents=documents,
        )
        return remember(result, read(bool(result.report.formats)))
    own = read(False)
    result = fit_given(
        whole,
        config,
        limits,
        data,
        own,
        scheduler=scheduler,
        objective=objective,
        reuse=reuse,
        documents=documents,
    )
    return remember(result, own)
