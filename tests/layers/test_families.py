"""Every layer family keeps to what it says, by the check that its author would run."""

import keras
import pytest

from fabricfit.testing import check_layer_family
from tests.marks import WAIT_ELSEWHERE
from tests.support.cases import CASES, is_installed

pytestmark = WAIT_ELSEWHERE

L = keras.layers
IMAGE, SERIES, VECTOR = (5, 4, 3), (6, 3), (5,)

ELEMENTWISE = {
    "ReLU": (lambda: L.ReLU(1.0, 0.2, 0.1), VECTOR),
    "LeakyReLU": (lambda: L.LeakyReLU(0.3), IMAGE),
    "ELU": (L.ELU, VECTOR),
    "Activation": (lambda: L.Activation("gelu"), IMAGE),
    "PReLU": (lambda: L.PReLU(shared_axes=[1, 2]), IMAGE),
    "BatchNormalization": (L.BatchNormalization, IMAGE),
    "Normalization": (lambda: L.Normalization(mean=0.5, variance=2.0), VECTOR),
    "Rescaling": (lambda: L.Rescaling(0.5, 0.1), VECTOR),
    "Softmax": (L.Softmax, VECTOR),
    "Dropout": (lambda: L.Dropout(0.5), VECTOR),
    "RepeatVector": (lambda: L.RepeatVector(2), VECTOR),
    "Flatten": (L.Flatten, IMAGE),
    "Reshape": (lambda: L.Reshape((10, 6)), IMAGE),
    "Permute": (lambda: L.Permute((2, 1)), SERIES),
    "MaxPooling1D": (lambda: L.MaxPooling1D(2), SERIES),
    "AveragePooling2D": (lambda: L.AveragePooling2D(2, padding="same"), IMAGE),
    "GlobalMaxPooling1D": (L.GlobalMaxPooling1D, SERIES),
    "GlobalAveragePooling2D": (L.GlobalAveragePooling2D, IMAGE),
    "ZeroPadding1D": (lambda: L.ZeroPadding1D(1), SERIES),
    "Cropping2D": (lambda: L.Cropping2D(1), IMAGE),
    "UpSampling2D": (lambda: L.UpSampling2D(2, interpolation="bilinear"), IMAGE),
}
"""Layers without kernels."""

KERNELS = {
    "Dense without a bias": (lambda: L.Dense(4, use_bias=False), VECTOR),
    "EinsumDense on groups": (lambda: L.EinsumDense("abc,bcd->abd", (6, 2), bias_axes="d"), SERIES),
    "Conv1D, causal": (lambda: L.Conv1D(4, 2, dilation_rate=2, padding="causal"), SERIES),
    "Conv2D, same": (lambda: L.Conv2D(4, 3, strides=2, padding="same"), IMAGE),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(2, depth_multiplier=2), IMAGE),
}
"""Layers whose options change what the family says."""


@pytest.mark.keras
@pytest.mark.parametrize("name", [*ELEMENTWISE, *KERNELS])
def test_a_family_of_keras_keeps_to_what_it_says(name):
    make, shape = (ELEMENTWISE | KERNELS)[name]
    check_layer_family(make, shape)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=getattr(pytest.mark, case.family)) for case in CASES],
)
def test_a_family_with_kernels_keeps_to_what_it_says(case):
    if not is_installed(case.family):
        pytest.skip(f"{case.family} is not installed")
    check_layer_family(lambda: case.make("layer"), case.shape, inputs=case.inputs, words=case.words)
