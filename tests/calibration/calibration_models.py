"""Small trained models with the data that they were trained on."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np

from tests.common import L, blobs, lenet, mlp

LOSS = "sparse_categorical_crossentropy"


@cache
def classifier():
    """A trained classifier, compiled."""
    model, (X, y) = mlp(), blobs(400)
    model.compile("adam", LOSS, metrics=["accuracy"])
    model.fit(X, y, epochs=20, verbose=0)
    return model, (X, y)


@cache
def images():
    """A trained convolutional classifier of which corner of an image is bright."""
    model, rng = lenet(), np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    X = rng.normal(0, 0.3, (400, 8, 8, 1)).astype("float32")
    for image, corner in zip(X, y, strict=True):
        row, column = 4 * (corner // 2), 4 * (corner % 2)
        image[row : row + 4, column : column + 4] += rng.uniform(0.3, 1.0)
    model.compile("adam", LOSS)
    model.fit(X, y, epochs=4, verbose=0)
    return model, (X, y)


def residual(seed=0):
    """Two inputs, normalizations that fold and that do not, a sum, an average, tanh and sigmoid."""
    keras.utils.set_random_seed(seed)
    image, scalars = keras.Input((6, 6, 2), name="image"), keras.Input((3,), name="scalars")
    x = L.Conv2D(4, 3, padding="same", name="first")(image)
    x = L.Activation("relu", name="bend")(L.BatchNormalization(name="norm")(x))
    branch = L.BatchNormalization(name="branch_norm")(
        L.Conv2D(4, 3, padding="same", name="branch")(x)
    )
    x = L.ReLU(name="bend_sum")(L.Add(name="sum")([x, branch]))
    x = L.Flatten(name="flat")(L.AveragePooling2D(2, name="average")(x))
    x = L.Concatenate(name="both")([x, scalars])
    x = L.BatchNormalization(name="dense_norm")(L.Dense(6, "tanh", name="dense")(x))
    model = keras.Model([image, scalars], L.Dense(1, "sigmoid", name="out")(x))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            drawn = zip([0.5, -0.3, -0.3, 0.5], layer.get_weights(), strict=True)
            layer.set_weights([rng.uniform(low, 1.5, each.shape) for low, each in drawn])
    X = {
        "image": rng.normal(size=(300, 6, 6, 2)).astype("float32"),
        "scalars": rng.normal(size=(300, 3)).astype("float32"),
    }
    y = (X["scalars"].sum(1) > 0).astype("float32")
    return model, (X, y)
