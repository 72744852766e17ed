"""What holds of every model whose layers became plain ones."""

from __future__ import annotations

import numpy as np

from fabricfit.network.plain_layers import list_quantizing, make_plain
from fabricfit.network.reader import read
from tests.common import outputs_of, weights_of

__all__ = ["check_plain", "draw_weight"]


def draw_weight(rng, variable):
    """Give a weight random numbers, a variance positive ones."""
    values = rng.normal(0, 0.4, variable.shape)
    variable.assign(np.abs(values) + 0.3 if "variance" in variable.name else values)


def check_plain(model, X, tolerance):
    """A model with one quantized layer, ``layer``, computes the same with plain ones, and is not changed."""
    before = weights_of(model)
    assert list_quantizing(read(model)) == ["layer"]
    made = make_plain(read(model)).network
    np.testing.assert_allclose(
        outputs_of(made.model, X), outputs_of(model, X), rtol=tolerance, atol=tolerance
    )
    assert {type(layer).__module__.partition(".")[0] for layer in made.layers.values()} == {"keras"}
    assert not list_quantizing(made) and "layer" in made.layers
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
