"""LUTs and flip-flops of layers that look at several pixels of a stream at once: convolutions and pooling.

Such a layer keeps the last rows of each channel in line buffers, shift registers in LUTs, and the pixels that
its kernel lies on in a window of registers. No block RAM is used: of 100 and 285 RAMB18 of two networks
all were FIFOs or weights.
"""

from __future__ import annotations

from fabricfit.hardware import calibration as known
from fabricfit.hardware.product import Product
from fabricfit.hardware.targets import Target

__all__ = ["line_buffer_ff", "line_buffer_lut", "window_ff", "window_lut"]


def window_lut(product: Product, target: Target) -> float:
    """Return the LUTs of a convolution in a stream beside its product; 0 of any other layer.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    target
        What it is built for and with.
    """
    if not product.is_windowed:
        return 0.0
    lines = line_buffer_lut(product.kernel_rows, product.channels, target)
    return target.laws.window[0] + lines


def window_ff(product: Product, target: Target) -> float:
    """Return the flip-flops of a convolution in a stream beside its product; 0 of any other layer.

    The arguments are those of :func:`window_lut`.
    """
    if not product.is_windowed:
        return 0.0
    pixels = known.WINDOW_FF_PER_BIT * product.n_in * product.input_width
    return target.laws.window[1] + pixels + line_buffer_ff(product.kernel_rows, product.channels)


def line_buffer_lut(kernel_rows: int, channels: int, target: Target) -> float:
    """Return the LUTs of line buffers: of each channel for each row of the kernel but one.

    50, 118 and 308 a channel for 2, 3 and 5 rows with Vitis HLS, in 7 of 7 layers, whatever the width of the
    numbers and the length of the lines. Vivado HLS counts none.

    Parameters
    ----------
    kernel_rows, channels
        Rows of the kernel or the pool, and channels of the pixels.
    target
        What it is built for and with.
    """
    lines = max(kernel_rows - 1, 0)
    each, pair = target.laws.line_lut
    return channels * (each * lines + pair * lines * (lines - 1) / 2)


def line_buffer_ff(kernel_rows: int, channels: int) -> float:
    """Return the flip-flops of line buffers, as :func:`line_buffer_lut` takes its arguments."""
    return float(known.LINE_FF * max(kernel_rows - 1, 0) * channels)
