"""How many block RAMs the weights of a layer take.

With the Resource strategy and a reuse factor RF > 1, hls4ml stores the weights as RF words, each as
wide as all multipliers' weights together. A RAMB18 holds words of a width that depends on their
number (Xilinx UG573, "Port Aspect Ratios"): 512 of 36 bits, 1024 of 18, 2048 of 9 and so on.
"""

from __future__ import annotations

from fabricfit.errors import InvalidInputError

__all__ = ["memory_word", "weight_bram18"]

_ASPECT_RATIOS = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))


def memory_word(depth: int) -> int:
    """Return the bits of a word in one RAMB18 that holds this many words.

    Parameters
    ----------
    depth
        Number of words; the reuse factor, for weights. More than 16384 take several RAMB18 for
        each bit, see :func:`weight_bram18`.

    Raises
    ------
    InvalidInputError
        The depth is below 1.
    """
    if depth < 1:
        raise InvalidInputError(f"depth must be at least 1. Received: depth={depth!r}")
    return next((bits for words, bits in _ASPECT_RATIOS if depth <= words), 1)


def weight_bram18(patterns: int, weight_width: int, reuse_factor: int) -> int:
    """Return the number of RAMB18 that hold a layer's weights; a RAMB36 counts as two.

    None with RF = 1, else ``ceil(patterns · weight_width / W)`` with W of :func:`memory_word`. For
    1 < RF ≤ 1024 each of 804 runs of Vivado HLS 2020.1 took this number or one more (W = 36 up to
    RF = 512, 18 above). For RF > 1024 the tools mix aspect ratios and take fewer than this: with
    one more it was an upper bound of all 53 runs in the repository.

    Parameters
    ----------
    patterns
        Multipliers whose weights are stored, ``n_in · n_out / RF`` of a full layer.
    weight_width
        Bits of a weight.
    reuse_factor
        Weights of each multiplier, RF.
    """
    if reuse_factor == 1:
        return 0
    cascade = -(-reuse_factor // _ASPECT_RATIOS[-1][0])
    return -(-patterns * weight_width // memory_word(reuse_factor)) * cascade
