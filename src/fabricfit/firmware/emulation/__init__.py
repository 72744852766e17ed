"""What a quantized network must compute, bit for bit, in integer arithmetic.

An independent reference for the C++ that hls4ml generates. Number formats and the order of layers are
read from hls4ml's resolved graph; weights, strides and padding come from the Keras model. Every layer
follows the arithmetic of the Vitis and Vivado templates of hls4ml 1.3.
"""

from fabricfit.firmware.emulation import (  # noqa: F401 - these fill the registry
    activations,
    depthwise,
    einsum,
    elementwise,
    lookup,
    matrix_products,
    pooling,
    quantizers,
    recurrent,
    reshaping,
    softmax,
)
from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError, cast
from fabricfit.firmware.emulation.network import Emulation, emulate, emulate_network
from fabricfit.firmware.emulation.registry import register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = [
    "Emulation",
    "FixedTensor",
    "Format",
    "KerasWeights",
    "NotModelledError",
    "cast",
    "emulate",
    "emulate_network",
    "register",
    "result_format",
]
