"""The structures of groups, under their historical name."""

from fabricfit.description.structures import SUPPORTED_STRUCTURES

__all__ = ["SUPPORTED_STRUCTURES"]
