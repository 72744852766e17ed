"""What hls4ml itself declares and writes is known here, and passes the door."""

import json

import pytest

hls4ml = pytest.importorskip("hls4ml")
keras = pytest.importorskip("keras")

import fabricfit
from fabricfit.description.precision import parse_precision
from fabricfit.hls4ml.vocabulary import CHOICES, LAYER_KEYS, PRECISIONS
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import read
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers


def configurable():
    """Yield what a user may configure in layers, by hls4ml's own declarations."""
    from hls4ml.model.layers import layer_map

    for name in ("Vivado", "Vitis", "VivadoAccelerator", "Quartus", "oneAPI", "Catapult"):
        if name.lower() not in hls4ml.backends.get_available_backends():
            continue
        backend = hls4ml.backends.get_backend(name)
        for layer in set(layer_map.values()):
            for attribute in backend.create_layer_class(layer).expected_attributes:
                if attribute.configurable:
                    yield attribute


def test_every_key_that_hls4ml_declares_is_known():
    from hls4ml.model.attributes import ChoiceAttribute, TypeAttribute

    for attribute in configurable():
        if isinstance(attribute, TypeAttribute):
            assert attribute.name.removesuffix("_t") in PRECISIONS
        else:
            assert attribute.config_name in LAYER_KEYS
        if isinstance(attribute, ChoiceAttribute) and attribute.config_name in CHOICES:
            assert set(attribute.choices) == set(CHOICES[attribute.config_name])


@pytest.fixture(scope="module")
def model():
    shared, image = L.Dense(4, activation="relu", name="shared"), keras.Input((6, 6, 2), name="x")
    x = L.Conv2D(3, 3, activation="relu", padding="same", name="conv")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.MaxPooling2D(name="pool")(x)
    x = L.Flatten(name="flat")(L.DepthwiseConv2D(2, name="depthwise")(x))
    x = L.Add(name="sum")([x, L.LeakyReLU(name="leaky")(x)])
    x = shared(shared(L.Dense(4, activation="tanh", name="fc")(x)))
    return keras.Model(image, L.Dense(3, activation="softmax", name="n")(x))


@pytest.mark.parametrize("granularity", ["model", "type", "name"])
@pytest.mark.parametrize("backend", [None, "Vitis"])
def test_what_hls4ml_writes_is_taken(model, granularity, backend):
    config = hls4ml.utils.config_from_keras_model(model, granularity=granularity, backend=backend)
    opened = open_configuration(config, read(model))
    assert json.loads(json.dumps(opened)) == opened
    assert {kind: set(opened.get(kind, ())) for kind in ("LayerName", "LayerType")} == {
        kind: set(config.get(kind, ())) for kind in ("LayerName", "LayerType")
    }
    assert open_configuration(opened, read(model)) == opened


def test_the_file_of_a_project_is_taken(model, tmp_path):
    config = hls4ml.utils.config_from_keras_model(model, granularity="name", backend="Vitis")
    types = hls4ml.model.types
    config["Model"]["Precision"]["default"] = types.FixedPrecisionType(14, 5, False, "RND", "SAT")
    config["LayerName"]["fc"]["Precision"]["weight"] = types.IntegerPrecisionType(3)
    project = hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, backend="Vitis", output_dir=str(tmp_path), io_type="io_stream"
    )
    project.write()
    opened = open_configuration(tmp_path, read(model))
    inner = opened["HLSConfig"]
    assert opened["IOType"] == "io_stream"
    default = parse_precision(inner["Model"]["Precision"]["default"])
    assert (default.width, default.integer, default.signed, default.rounding) == (
        14,
        5,
        False,
        "RND",
    )
    assert parse_precision(inner["LayerName"]["fc"]["Precision"]["weight"]).width == 3
    assert fabricfit.estimate(model, tmp_path / "hls4ml_config.yml").resources["dsp"].value > 0
