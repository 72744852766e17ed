"""Defaults of a run are the same in Python and on the command line."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from fabricfit.run import defaults
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_the_command_line_has_the_defaults_of_the_settings():
    from fabricfit.cli.sections import LevelsConfig, TrainingConfig
    from fabricfit.optimization.settings import OptimizationSettings

    ours = {each.name: each.default for each in dataclasses.fields(OptimizationSettings)}
    theirs = {name: field.default for name, field in TrainingConfig.model_fields.items()}
    has_default = {name for name, value in ours.items() if value is not dataclasses.MISSING}
    shared = has_default & set(theirs) - {"rtol"}
    assert {
        "trials",
        "patience",
        "temperature",
        "tuner",
        "seed",
        "rewinding_epochs",
        "epochs",
        "increasing",
    } <= shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert LevelsConfig().steps == defaults.LEVELS


def test_strengths_to_choose_from_are_even_in_the_logarithm():
    strengths = defaults.REGULARIZATION_RANGE
    assert (strengths[0], strengths[-1]) == pytest.approx((1e-6, 1e-2))
    ratios = [b / a for a, b in itertools.pairwise(strengths)]
    assert ratios == pytest.approx([ratios[0]] * 15)
