"""Alternatives to fabricfit, each written in its usual way."""
