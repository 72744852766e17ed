"""One door for models in files: Keras 3 and 2, QKeras, HGQ2, PQuantML, and projects of hls4ml."""

from fabricfit.loading.load import load_model

__all__ = ["load_model"]
