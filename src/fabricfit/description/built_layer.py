"""What an hls4ml configuration says of one layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from fabricfit.checks import whole_number
from fabricfit.description.precision import Precision, parse_precision
from fabricfit.description.strategies import canonical_strategy, check_io_type

__all__ = ["hls4mlAttributes"]


@dataclass(frozen=True)
class hls4mlAttributes:  # noqa: N801 - the historical public name
    """What an hls4ml configuration says of one layer.

    Parameters
    ----------
    n_in, n_out
        Rows and columns of the layer's matrix product; for a convolution kernel height × width ×
        channels, and filters.
    io_type
        ``'io_parallel'`` or ``'io_stream'``.
    strategy
        ``'Latency'``, ``'Resource'``, ``'ResourceUnrolled'`` or ``'distributed_arithmetic'``, in
        any case. hls4ml silently builds a layer with Latency for a name that it does not know; here that is
        an error.
    weight_precision, output_precision
        Number formats: a text (``'fixed<16,6>'``) or any object with a ``width`` in bits.
    reuse_factor
        Times that one multiplier is used, RF.
    parallelization_factor
        Output pixels computed at once, for ``io_parallel`` convolutions.
    input_precision, accumulator_precision, bias_precision
        Number formats of the layer's input, its running sum and its bias, if they are known.

    Raises
    ------
    InvalidInputError
        A value is out of its range.
    """

    n_in: int
    n_out: int
    io_type: str
    strategy: str
    weight_precision: Precision
    output_precision: Precision
    reuse_factor: int
    parallelization_factor: int = 1
    input_precision: Precision | None = field(default=None, kw_only=True)
    accumulator_precision: Precision | None = field(default=None, kw_only=True)
    bias_precision: Precision | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("n_in", "n_out", "reuse_factor", "parallelization_factor"):
            set_(self, name, whole_number(name, getattr(self, name)))
        check_io_type(self.io_type)
        canonical_strategy(self.strategy)
        set_(self, "weight_precision", parse_precision(self.weight_precision))
        set_(self, "output_precision", parse_precision(self.output_precision))
        for name in ("input_precision", "accumulator_precision", "bias_precision"):
            if getattr(self, name) is not None:
                set_(self, name, parse_precision(getattr(self, name)))
