"""What FPGAs and hls4ml do with a layer, as plain functions of numbers.

Nothing here needs a deep-learning framework. Every law names where it was measured and how far it
reaches; :mod:`fabricfit.objectives` turns the laws into costs of groups.
"""

from fabricfit.hardware.bram import memory_word, weight_bram18
from fabricfit.hardware.dsp import (
    DSP_PORTS,
    dsps_per_multiplier,
    latency_dsp,
    multipliers,
)
from fabricfit.hardware.estimates import RESOURCES, Estimate, Resources
from fabricfit.hardware.ff import output_registers, weight_registers
from fabricfit.hardware.hls4ml_config import read_hls4ml_attributes
from fabricfit.hardware.product import Product, Work, csd_digits
from fabricfit.hardware.reuse import (
    ReuseFactorWarning,
    effective_strategy,
    legal_parallelization_factor,
    legal_reuse_factor,
    valid_reuse_factors,
)

__all__ = [
    "DSP_PORTS",
    "RESOURCES",
    "Estimate",
    "Product",
    "Resources",
    "ReuseFactorWarning",
    "Work",
    "csd_digits",
    "dsps_per_multiplier",
    "effective_strategy",
    "latency_dsp",
    "legal_parallelization_factor",
    "legal_reuse_factor",
    "memory_word",
    "multipliers",
    "output_registers",
    "read_hls4ml_attributes",
    "valid_reuse_factors",
    "weight_bram18",
    "weight_registers",
]
