"""What may become of the weights of a layer, what each way loses and takes, and the best choice."""

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
