"""Derivatives of models in half precision are those of the same weights in full precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.curvature import Curvature
from tests.common import L, blobs
from tests.marks import first_quick

pytestmark = pytest.mark.keras

X, Y = blobs(32)


def network(policy):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(5, activation="tanh", dtype=policy, name="fc1"),
            L.BatchNormalization(dtype=policy, name="norm"),
            L.Dense(4, activation="relu", dtype=policy, name="fc2"),
            L.Dense(3, activation="softmax", dtype=policy, name="out"),
        ]
    )


@pytest.mark.parametrize("policy", first_quick(["mixed_float16", "mixed_bfloat16", "float16"]))
@pytest.mark.parametrize(
    "method", first_quick(["auto", "gauss-newton", "estimate"], 3, elsewhere=1)
)
def test_derivatives_are_computed_in_full_precision(policy, method):
    model, whole = network(policy), network("float32")
    whole.set_weights([np.asarray(w, "float32") for w in model.get_weights()])
    policies = [layer.dtype_policy.name for layer in model.layers]
    found, expected = (
        Curvature(each, None, "sparse_categorical_crossentropy") for each in (model, whole)
    )
    for first, second in (
        (found.gradients(X, Y), expected.gradients(X, Y)),
        (
            found.hessians(X, Y, method=method).values,
            expected.hessians(X, Y, method=method).values,
        ),
    ):
        for name in second:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-3, atol=1e-6)
    assert [layer.dtype_policy.name for layer in model.layers] == policies
