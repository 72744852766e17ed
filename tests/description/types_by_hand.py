"""AMD's fixed-point types by their definitions in UG1399, in fractions, one number at a time."""

import math
from fractions import Fraction

__all__ = ["NUMBERS", "convert_by_hand"]

NUMBERS = [Fraction(n, 16) for n in range(-90, 91)]
"""Numbers on both sides of the formats below, with all ties between two of theirs."""


def round_by_hand(scaled, mode):
    """Return a whole number for a fraction: the nearest one, ties as the mode says, or truncated."""
    low, high = math.floor(scaled), math.ceil(scaled)
    if mode == "TRN":
        return low
    if mode == "TRN_ZERO":
        return math.trunc(scaled)
    if scaled - low != Fraction(1, 2):
        return low if scaled - low < Fraction(1, 2) else high
    positive = scaled > 0
    return {
        "RND": high,
        "RND_MIN_INF": low,
        "RND_ZERO": low if positive else high,
        "RND_INF": high if positive else low,
        "RND_CONV": low if low % 2 == 0 else high,
    }[mode]


def limit_by_hand(whole, width, signed, mode):
    """Return what a whole number becomes in so many bits."""
    high = 2 ** (width - signed) - 1
    low = -high - 1 if signed else 0
    if mode == "SAT_SYM" and signed:
        low = -high
    if low <= whole <= high:
        return whole
    if mode == "SAT_ZERO":
        return 0
    if mode == "WRAP":
        bits = whole % 2**width
        return bits - 2**width if signed and bits >= 2 ** (width - 1) else bits
    return high if whole > high else low


def convert_by_hand(number, width, fractional, signed, rounding, overflow):
    """Return what a fraction becomes in a format, in units of its last bit."""
    scaled = number * Fraction(2) ** fractional
    return limit_by_hand(round_by_hand(scaled, rounding), width, signed, overflow)
