"""Benchmarks of fabricfit against alternatives: ``python -m benchmarks``."""
