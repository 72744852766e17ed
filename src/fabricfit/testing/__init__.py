"""Checks that the author of a plug-in runs: plain assertions with messages, without a test framework."""

from fabricfit.testing.layers import check_layer_family

__all__ = ["check_layer_family"]
