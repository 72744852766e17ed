"""Removal of units, under its historical name."""

from fabricfit.surgery.reduction import ReductionPlan, plan_reduction, reduce_model

__all__ = ["ReductionPlan", "plan_reduction", "reduce_model"]
