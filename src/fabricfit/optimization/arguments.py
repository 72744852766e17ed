"""Arguments of runs, checked before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fabricfit.checks import instance, mapping, text
from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.optimization.chosen_design import DESIGNS
from fabricfit.optimization.result import OptimizationResult
from fabricfit.run import files
from fabricfit.scheduler import OptimizationScheduler

__all__ = [
    "check_arguments",
    "check_attributes",
    "check_documents",
    "check_fpga_objective",
    "check_scheduler",
]

_OWN_FILES = frozenset(
    name.lower()
    for name in (
        *(files.MANIFEST, files.JOURNAL, files.LOCK, files.BEST_WEIGHTS, files.LEVELS),
        *(files.MODEL, files.HLS_CONFIG, files.REPORT, files.REPORT_TEXT, files.GROUPS),
        *(files.VERIFICATION, files.PERFORMANCE, files.SIMPLE_ALTERNATIVES, files.PAGE, DESIGNS),
    )
)
"""What a run writes itself."""

_OF_THE_RUN = (".npz", ".h5", ".keras", ".jsonl", ".lock")
"""Endings of files that are no texts, or that a run makes as it goes."""

_LONGEST_NAME = 200


def check_arguments(
    scheduler: Any = None, reuse: Any = None, documents: Any = None, objective: Any = FPGAResources
) -> None:
    """Refuse what a run could not work with; the arguments are those of :func:`fabricfit.fit`.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        One of them is nothing of its kind.
    """
    if scheduler is not None:
        check_scheduler(scheduler)
    if reuse is not None:
        instance("reuse", reuse, OptimizationResult)
    check_documents(documents)
    check_fpga_objective(objective)


def check_scheduler(scheduler: Any) -> OptimizationScheduler:
    """Return a scheduler.

    Raises
    ------
    InvalidTypeError
        It is none; also the class of one.
    """
    if isinstance(scheduler, OptimizationScheduler):
        return scheduler
    raise InvalidTypeError(
        "scheduler must be an OptimizationScheduler, for example "
        f"fabricfit.scheduler.ConstantScheduler(). Received: scheduler={spell(scheduler)}"
    )


def check_fpga_objective(objective: Any) -> type[FPGAResources]:
    """Return the class of an objective that counts the resources of a budget.

    Raises
    ------
    InvalidTypeError
        It is something else.
    """
    if isinstance(objective, type) and issubclass(objective, FPGAResources):
        return objective
    raise InvalidTypeError(
        "objective must be a subclass of fabricfit.objectives.fpga.FPGAResources, which counts the "
        f"resources of a budget. Received: {spell(objective)}. Other objectives are for fabricfit.optimize."
    )


def check_attributes(attributes: Any) -> Mapping[str, LayerAttributes]:
    """Return attributes of layers by name.

    Raises
    ------
    InvalidTypeError
        They are none.
    """
    if not isinstance(attributes, Mapping):
        raise InvalidTypeError(
            "attributes must be a dictionary of layers' attributes, as "
            "fabricfit.get_attributes_from_keras_model(model) returns it. "
            f"Received: attributes={spell(attributes)}"
        )
    for name, each in attributes.items():
        instance(f"attributes[{spell(name)}]", each, LayerAttributes)
    return attributes


def check_documents(documents: Any) -> dict[str, str]:
    """Return further files of a run's folder, file name -> text; None for none.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        A name is that of a file elsewhere or of the run's own, or what is to be written is no text.
    """
    if documents is None:
        return {}
    for name, content in mapping("documents", documents).items():
        text("a name in documents", name)
        separators = {"/", "\\", os.sep}
        if name.startswith(".") or separators & set(name) or len(name) > _LONGEST_NAME:
            raise InvalidInputError(
                "documents must have the names of files in the run's folder, without a path and not hidden. "
                f"Received: {spell(name)}"
            )
        if name.lower() in _OWN_FILES or name.lower().endswith(_OF_THE_RUN):
            raise InvalidInputError(
                f"documents must not have names of the run's own files. Received: {spell(name)}"
            )
        text(f"documents[{name!r}]", content, empty=True)
    return dict(documents)
