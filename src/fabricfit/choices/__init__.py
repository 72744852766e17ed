"""Treatments of the weights of a layer, the loss and usage of each, and the best choice."""

from fabricfit.choices.base import Choices, Response, Treatment
from fabricfit.choices.constants import ConstantChoices, ConstantLevel, ConstantPrices
from fabricfit.choices.groups import GroupChoices
from fabricfit.choices.solver import ChoiceSolver, Solution, solve_choices

__all__ = [
    "ChoiceSolver",
    "Choices",
    "ConstantChoices",
    "ConstantLevel",
    "ConstantPrices",
    "GroupChoices",
    "Response",
    "Solution",
    "Treatment",
    "solve_choices",
]
