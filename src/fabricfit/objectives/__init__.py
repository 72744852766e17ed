"""What an optimization is to save: the cost of every group, counted in some resource.

An objective is a subclass of :class:`ObjectiveEstimator`. Those for FPGAs are in
:mod:`fabricfit.objectives.vivado_objectives`, the one for GPUs and CPUs in
:mod:`fabricfit.objectives.gpu_objectives`.
"""

from fabricfit.objectives.base import ObjectiveEstimator
from fabricfit.objectives.parameters import ParameterEstimator

__all__ = ["ObjectiveEstimator", "ParameterEstimator"]
