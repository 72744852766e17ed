"""How hls4ml builds a layer: its configuration, legal reuse factors, and what it leaves out."""

from fabricfit.hls4ml.checking import ConfigurationWarning
from fabricfit.hls4ml.config import read_hls4ml_attributes
from fabricfit.hls4ml.realize import Realized
from fabricfit.hls4ml.reuse_factor import (
    ReuseFactorWarning,
    effective_strategy,
    legal_parallelization_factor,
    legal_reuse_factor,
    valid_reuse_factors,
)

__all__ = [
    "ConfigurationWarning",
    "Realized",
    "ReuseFactorWarning",
    "effective_strategy",
    "legal_parallelization_factor",
    "legal_reuse_factor",
    "read_hls4ml_attributes",
    "valid_reuse_factors",
]
