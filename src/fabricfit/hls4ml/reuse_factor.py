"""Reuse factor, strategy and parallelization factor: what hls4ml really builds when it is asked.

hls4ml's Vivado and Vitis backends replace what they cannot build by the nearest thing they can,
with no more than a line on the console. Groups must follow what is built, so the same rules are
written here. Established on hls4ml 1.3, whose own choices are the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fabricfit.checks import flag, mapping, whole_number
from fabricfit.description.strategies import SHARED_MULTIPLIERS, canonical_strategy, check_io_type

__all__ = [
    "ReuseFactorWarning",
    "built_reuse_factor",
    "effective_strategy",
    "legal_parallelization_factor",
    "legal_reuse_factor",
    "valid_reuse_factors",
]

_NONE: Mapping[str, str] = {}


class ReuseFactorWarning(UserWarning):
    """hls4ml will not, or cannot, build a layer with the factor that was asked for."""


def valid_reuse_factors(n_in: int, n_out: int) -> list[int]:
    """Return all reuse factors that hls4ml's Resource strategy can build.

    They are the divisors of ``n_in``, and ``n_in`` times the divisors of ``n_out``: a multiplier
    serves a whole part of one output, or a whole number of outputs.

    Parameters
    ----------
    n_in, n_out
        Rows and columns of the layer's matrix product.

    Returns
    -------
    list of int
        In ascending order, from 1 to ``n_in * n_out``.

    Raises
    ------
    InvalidInputError
        A size is below 1.
    """
    n_in, n_out = whole_number("n_in", n_in), whole_number("n_out", n_out)
    return sorted({*_list_divisors(n_in), *(n_in * divisor for divisor in _list_divisors(n_out))})


def legal_reuse_factor(n_in: int, n_out: int, reuse_factor: int, strategy: str = "Resource") -> int:
    """Return the reuse factor that hls4ml would really use.

    Resource uses the nearest of :func:`valid_reuse_factors`, the smaller of two that are equally
    near. ResourceUnrolled does the same without the largest, ``n_in * n_out``, which it cannot
    build (with a reuse factor of 1 it is built as Resource). Latency and distributed arithmetic
    keep whatever they are given.

    Parameters
    ----------
    n_in, n_out
        Rows and columns of the layer's matrix product.
    reuse_factor
        The reuse factor that was asked for.
    strategy
        One of hls4ml's strategies, in any case.

    Raises
    ------
    InvalidInputError
        A number is below 1, or the strategy is none of hls4ml's.
    """
    reuse_factor = whole_number("reuse_factor", reuse_factor)
    name = canonical_strategy(strategy)
    legal = valid_reuse_factors(n_in, n_out)
    if name not in SHARED_MULTIPLIERS:
        return reuse_factor
    if name == "resource_unrolled" and reuse_factor > 1 and len(legal) > 1:
        legal.pop()
    return _find_nearest(legal, reuse_factor)


def built_reuse_factor(
    n_in: int,
    n_out: int,
    reuse_factor: int,
    strategy: str,
    reuse_shape: tuple[int, ...] | None = None,
) -> int:
    """Return the reuse factor that hls4ml builds a layer with.

    Parameters
    ----------
    n_in, n_out, reuse_factor, strategy
        As for :func:`legal_reuse_factor`.
    reuse_shape
        Rows and columns from which hls4ml derives legal factors, if they are others; empty where it keeps
        any factor.
    """
    if reuse_shape is not None and len(reuse_shape) == 0:
        return whole_number("reuse_factor", reuse_factor)
    rows, columns = reuse_shape or (n_in, n_out)
    return legal_reuse_factor(rows, columns, reuse_factor, strategy)


def effective_strategy(
    strategy: str,
    reuse_factor: int,
    io_type: str,
    is_convolution: bool,
    instead: Mapping[str, str] = _NONE,
) -> str:
    """Return the strategy that hls4ml would really use, as ``fabricfit.attributes`` spells it.

    ResourceUnrolled is built as Resource where the reuse factor is 1, and for convolutions with
    ``io_parallel``. A Dense layer on more than one axis is a (pointwise) convolution to hls4ml.

    Parameters
    ----------
    strategy, reuse_factor, io_type
        As they are asked for.
    is_convolution
        Whether hls4ml builds the layer as a convolution.
    instead
        Strategy -> the one that is built in its place for layers of this kind.

    Raises
    ------
    InvalidInputError
        The strategy is none of hls4ml's.
    """
    name, reuse_factor = canonical_strategy(strategy), whole_number("reuse_factor", reuse_factor)
    check_io_type(io_type)
    is_convolution = flag("is_convolution", is_convolution)
    if name in mapping("instead", instead):
        return instead[name]
    falls_back = reuse_factor == 1 or (is_convolution and io_type == "io_parallel")
    return "resource" if name == "resource_unrolled" and falls_back else name


def legal_parallelization_factor(positions: int, parallelization_factor: int) -> int:
    """Return the parallelization factor that hls4ml would really use for a convolution.

    That is the nearest divisor of the number of output positions, the smaller of two that are
    equally near.

    Parameters
    ----------
    positions
        Output positions of the convolution: width, or height × width.
    parallelization_factor
        Positions to be computed at once, as asked for.

    Raises
    ------
    InvalidInputError
        A number is below 1.
    """
    asked = whole_number("parallelization_factor", parallelization_factor)
    return _find_nearest(_list_divisors(whole_number("positions", positions)), asked)


def _list_divisors(number: int) -> list[int]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _find_nearest(legal: Iterable[int], asked: int) -> int:
    return min(legal, key=lambda number: (abs(number - asked), number))
