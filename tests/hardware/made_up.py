"""A resource that fabricfit does not have: milliwatts, by a law of two lines."""

from __future__ import annotations

from contextlib import contextmanager

from fabricfit.hardware import Estimate, ResourceKind, register_resource
from fabricfit.hardware.resource_records import _KINDS


def estimate_power(product, work, family):
    """Half a milliwatt for a weight that is not zero, and one for each result."""
    return Estimate.exact(0.5 * work.nonzeros + product.n_out)


POWER = ResourceKind("power", "POWER", "mW", estimate_power, multiples={"watts": 1000})


@contextmanager
def power():
    """Register it, and forget it again."""
    register_resource(POWER)
    try:
        yield POWER
    finally:
        _KINDS.pop("power")
