"""What an optimization is to save: the cost of every group, counted in some resource.

The core is :class:`Objective`, three methods of an instance. :class:`ObjectiveEstimator` is the same by class
methods, as hls4ml's optimization API has it. Those for FPGAs are in :mod:`fabricfit.objectives.fpga` and
:mod:`fabricfit.objectives.vivado_objectives`, the one for GPUs and CPUs in
:mod:`fabricfit.objectives.gpu_objectives`.
"""

from fabricfit.objectives.adapter import ObjectiveLike, as_objective
from fabricfit.objectives.base import Objective
from fabricfit.objectives.estimator import ObjectiveEstimator
from fabricfit.objectives.parameters import ParameterEstimator

__all__ = ["Objective", "ObjectiveEstimator", "ObjectiveLike", "ParameterEstimator", "as_objective"]
