"""What FPGAs and hls4ml do with a layer, as plain functions of numbers.

Nothing here needs a deep-learning framework. Every law names where it was measured and how far it
reaches; :mod:`fabricfit.objectives` turns the laws into costs of groups.
"""

from fabricfit.hardware.bram import memory_blocks, memory_word, product_memory, weight_bram18
from fabricfit.hardware.constants import lut_of_constants
from fabricfit.hardware.devices import Device, devices, find_device, register_device
from fabricfit.hardware.dsp import (
    DSP_PORTS,
    dsps_per_multiplier,
    latency_dsp,
    multipliers,
    product_dsp,
)
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.families import Family, families, find_family, register_family
from fabricfit.hardware.luts_and_ffs import product_ff, product_lut
from fabricfit.hardware.product import Product, Work, csd_digits
from fabricfit.hardware.registers import output_registers, weight_registers
from fabricfit.hardware.resource_records import (
    ResourceKind,
    find_resource,
    register_resource,
    resource_kinds,
    resource_names,
)
from fabricfit.hardware.resources import RESOURCES, Resources, product_resources
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, find_target
from fabricfit.hardware.time_multiplexed import ff_per_multiplier, lut_per_multiplier
from fabricfit.hardware.timing import product_interval, product_latency
from fabricfit.hardware.tools import find_tool, tools
from fabricfit.hardware.weight_costs import WeightCosts, weight_costs

__all__ = [
    "DEFAULT_TARGET",
    "DSP_PORTS",
    "RESOURCES",
    "Device",
    "Estimate",
    "Family",
    "Product",
    "ResourceKind",
    "Resources",
    "Target",
    "WeightCosts",
    "Work",
    "csd_digits",
    "devices",
    "dsps_per_multiplier",
    "families",
    "ff_per_multiplier",
    "find_device",
    "find_family",
    "find_resource",
    "find_target",
    "find_tool",
    "latency_dsp",
    "lut_of_constants",
    "lut_per_multiplier",
    "memory_blocks",
    "memory_word",
    "multipliers",
    "output_registers",
    "product_dsp",
    "product_ff",
    "product_interval",
    "product_latency",
    "product_lut",
    "product_memory",
    "product_resources",
    "register_device",
    "register_family",
    "register_resource",
    "resource_kinds",
    "resource_names",
    "tools",
    "weight_bram18",
    "weight_costs",
    "weight_registers",
]
