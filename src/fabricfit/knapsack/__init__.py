from fabricfit.knapsack.grouped import solve_grouped
from fabricfit.knapsack.problem import GroupedProblem, ItemProblem, KnapsackResult, FloorError
