"""Layer types of one's own, an elementwise one and one with a kernel, each in one place below."""

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.curvature import hessian_method, model_hessian
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.layout import Layout
from fabricfit.firmware.emulation import FixedTensor, cast, result_format
from fabricfit.layers import (
    ElementwiseFamily,
    Kernel,
    ProductFamily,
    forget_layer,
    register_layer,
)
from fabricfit.layers.matrix_form import LastAxisForm
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.testing import check_layer_family
from tests.common import quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = [*ON_ONE_BACKEND, pytest.mark.filterwarnings("ignore")]

L = keras.layers


# An elementwise layer.


@keras.saving.register_keras_serializable("own")
class Clip(L.Layer):
    """The number itself between -1 and 1, else the nearer of the two."""

    def call(self, x):
        return keras.ops.clip(x, -1.0, 1.0)


class ClipFamily(ElementwiseFamily):
    handles = (Clip,)
    piecewise_linear = True
    hls4ml_nodes = ("OwnClip",)

    def emulate(self, node, inputs, weights):
        given, one = inputs[0], 1 << inputs[0].format.fractional
        clipped = FixedTensor(np.clip(given.values, -one, one), given.format)
        return cast(clipped, result_format(node))


CLIP_CODE = """#ifndef NNET_OWN_CLIP_H_
#define NNET_OWN_CLIP_H_
namespace nnet {
struct own_clip_config {
    static const unsigned n_in = 1;
};
template <class data_T, class res_T, typename CONFIG_T>
void own_clip(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in]) {
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        if (data[i] > 1)
            res[i] = 1;
        else if (data[i] < -1)
            res[i] = -1;
        else
            res[i] = data[i];
    }
}
} // namespace nnet
#endif
"""


def extend_hls4ml(folder):
    """Teach hls4ml the layer by its extension API: a node class, how it is read, and its code."""
    from hls4ml.backends import get_backend
    from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
    from hls4ml.converters.keras_v3._base import KerasV3LayerHandler
    from hls4ml.model import layers

    class OwnClip(layers.Layer):
        def initialize(self):
            given = self.get_input_variable()
            self.add_output_variable(given.shape, precision=given.type.precision)

    class ClipReader(KerasV3LayerHandler):
        handles = (f"{Clip.__module__}.{Clip.__qualname__}",)

        def handle(self, layer, in_tensors, out_tensors):
            return {"class_name": "OwnClip"}

    class ClipConfig(LayerConfigTemplate):
        def __init__(self):
            super().__init__(OwnClip)
            self.template = "struct config{index} : nnet::own_clip_config {{\n"
            self.template += "    static const unsigned n_in = {n_in};\n}};\n"

        def format(self, node):
            params = self._default_config_params(node)
            params["n_in"] = node.get_input_variable().size_cpp()
            return self.template.format(**params)

    class ClipCall(FunctionCallTemplate):
        def __init__(self):
            super().__init__(OwnClip, include_header=["nnet_utils/nnet_own_clip.h"])
            self.template = "nnet::own_clip<{input_t}, {output_t}, {config}>({input}, {output});"

        def format(self, node):
            return self.template.format(**self._default_function_params(node))

    if "OwnClip" not in layers.layer_map:
        layers.register_layer("OwnClip", OwnClip)
        backend = get_backend("Vitis")
        backend.register_template(ClipConfig)
        backend.register_template(ClipCall)
        source = folder / "nnet_own_clip.h"
        source.write_text(CLIP_CODE)
        backend.register_source(source)


# A layer with a kernel.


@keras.saving.register_keras_serializable("own")
class Projection(L.Layer):
    """A dense layer whose kernel has the shape (units, n_in)."""

    def __init__(self, units, activation=None, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias
        self.activation = keras.activations.get(activation)
        self.kernel_regularizer = None

    def build(self, input_shape):
        shape = (self.units, input_shape[-1])
        self.kernel = self.add_weight(
            shape=shape, name="kernel", regularizer=self.kernel_regularizer
        )
        self.bias = self.add_weight(shape=(self.units,), name="bias") if self.use_bias else None

    def call(self, inputs):
        results = keras.ops.matmul(inputs, keras.ops.transpose(self.kernel))
        return self.activation(results if self.bias is None else results + self.bias)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        own = {"units": self.units, "activation": activation, "use_bias": self.use_bias}
        return {**super().get_config(), **own}


class ProjectionFamily(ProductFamily):
    handles = (Projection,)

    def kernels(self, layer):
        return (Kernel(layer.kernel, layer, bias=layer.bias, layout=self._layout(layer)),)

    def matrix_form(self, layer):
        return LastAxisForm(self._layout(layer))

    def _layout(self, layer):
        return Layout(tuple(layer.kernel.shape), rows=(1,), columns=(0,), units=(0,))


@pytest.fixture(scope="module", autouse=True)
def families():
    register_layer(ClipFamily)
    register_layer(ProjectionFamily)
    yield
    forget_layer(ClipFamily)
    forget_layer(ProjectionFamily)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, name="first"),
            Clip(name="clip"),
            Projection(7, "relu", name="second"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)).astype("float32")
    y = (X @ rng.normal(size=(6, 3))).argmax(axis=1)
    return (X[:200], y[:200]), (X[200:], y[200:])


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2)])
@pytest.mark.parametrize(
    "make",
    [
        Clip,
        lambda: Projection(4),
        lambda: Projection(4, "relu"),
        lambda: Projection(4, "tanh", False),
    ],
)
def test_they_keep_to_what_they_say(make, shape):
    check_layer_family(make, shape)


def test_units_are_followed_through_them():
    attributes = get_attributes_from_keras_model(network())
    assert attributes["first"].consumers == {"second": 1}
    assert attributes["second"].consumers == {"out": 1}
    assert attributes["clip"].elementwise is ElementwiseWork.COMPARE


def test_they_do_not_slow_the_hessian(data):
    model = network()
    assert hessian_method(model) == "gauss-newton"
    found = model_hessian(model, "sparse_categorical_crossentropy", *data[0], samples=20)
    assert set(found.methods.values()) == {"gauss-newton"}
    exact = model_hessian(
        model, "sparse_categorical_crossentropy", *data[0], samples=20, method="exact"
    )
    for key, values in found.values.items():
        np.testing.assert_allclose(values, exact.values[key], rtol=1e-3, atol=1e-6)


def test_they_are_estimated():
    found = fabricfit.estimate(network())
    without = fabricfit.estimate(
        keras.Sequential([keras.Input((6,)), L.Dense(8), L.Dense(7, "relu"), L.Dense(3, "softmax")])
    )
    assert found.resources["dsp"].value == pytest.approx(without.resources["dsp"].value, rel=0.2)
    assert found.resources["lut"].value > without.resources["lut"].value


def test_a_model_with_them_fits_a_budget(data, tmp_path):
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data[0], epochs=5, verbose=0)
    settings = quick_settings(tmp_path, batch_size=64)
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    result = fabricfit.fit(model, *data, fabricfit.Budget(dsp=60), settings, hls_config=config)
    before, after = (each.get_layer("second").get_weights()[0] for each in (model, result.model))
    assert before.shape == after.shape and (np.ldexp(after, 10) % 1 == 0).all()
    assert fabricfit.estimate(model, config).resources["dsp"].value > 60
    assert fabricfit.estimate(result.model, result.hls_config).resources["dsp"].value <= 60


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_what_hls4ml_converts_is_verified(tmp_path):
    pytest.importorskip("hls4ml")
    extend_hls4ml(tmp_path)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8, name="first"), Clip(name="clip"), L.Dense(3, name="out")]
    )
    config = {"Model": {"Precision": "fixed<12,4>", "ReuseFactor": 1, "Strategy": "Latency"}}
    rng = np.random.default_rng(1)
    found = fabricfit.verify(model, config, rng.normal(0, 2, (50, 6)))
    assert found.passed and not found.not_modelled, str(found)


def test_the_former_name_of_a_family_serves_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"is now fabricfit\.layers\.LayerFamily"):
        former = __import__("fabricfit.keras").keras.LayerHandler
    assert former is fabricfit.LayerFamily
