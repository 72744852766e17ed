"""What fabricfit costs beside what one would run otherwise: ``python -m benchmarks``."""
