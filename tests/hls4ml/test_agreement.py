"""hls4ml's own conversion of real models is the oracle of how its configurations are read."""

import copy
import warnings

import pytest

hls4ml = pytest.importorskip("hls4ml")
keras = pytest.importorskip("keras")

import fabricfit
from fabricfit.description.strategies import canonical_strategy
from fabricfit.hls4ml import ReuseFactorWarning
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def model():
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv2")(image)
    x = layers.Reshape((36, 4), name="line")(x)
    x = layers.Conv1D(6, 3, name="conv1")(x)
    x = layers.Dense(8, name="steps")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="out")(x))


def write_config(model, granularity, **settings):
    config = hls4ml.utils.config_from_keras_model(model, granularity=granularity, backend="Vitis")
    sections = {
        "model": [config["Model"]],
        "name": [config.get("LayerName", {}).get(n) for n in ("conv2", "conv1", "out")],
        "type": [config.get("LayerType", {}).get(t) for t in ("Conv2D", "Conv1D", "Dense")],
    }[granularity]
    for section in sections:
        section.update(settings)
    return config


def built_by_hls4ml(model, config, io_type, tmp_path):
    graph = hls4ml.converters.convert_from_keras_model(
        model,
        hls_config=copy.deepcopy(config),
        backend="Vitis",
        io_type=io_type,
        output_dir=str(tmp_path / "project"),
    )
    return {layer.name: layer for layer in graph.get_layers() if "weight" in layer.weights}


@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("granularity", ["model", "name"])
@pytest.mark.parametrize(
    "settings",
    [
        {"Strategy": "Resource", "ReuseFactor": 5, "ParallelizationFactor": 7},
        {"Strategy": "Resource", "ReuseFactor": 1},
        {"Strategy": "ResourceUnrolled", "ReuseFactor": 1},
        {"Strategy": "ResourceUnrolled", "ReuseFactor": 7, "ParallelizationFactor": 4},
        {"Strategy": "ResourceUnrolled", "ReuseFactor": 10**6},
        {"Strategy": "Latency", "ReuseFactor": 5, "ParallelizationFactor": 5},
    ],
    ids=lambda settings: f"{settings['Strategy']}-{settings['ReuseFactor']}",
)
def test_we_read_what_hls4ml_builds(model, granularity, settings, io_type, tmp_path):
    config = write_config(model, granularity, **settings)
    built = built_by_hls4ml(model, config, io_type, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReuseFactorWarning)
        read = get_attributes_from_keras_model_and_hls4ml_config(
            model, config | {"IOType": io_type}
        )
    assert set(built) == {"conv2", "conv1", "steps", "out"}
    for name, layer in built.items():
        found = read[name].hls4ml
        assert found.reuse_factor == layer.get_attr("reuse_factor"), name
        assert canonical_strategy(found.strategy) == layer.get_attr("strategy"), name
        in_parallel = layer.get_attr("parallelization_factor") if "Conv" in layer.class_name else 1
        assert found.parallelization_factor == in_parallel, name
        assert (found.n_in, found.n_out) == hls4ml.backends.get_backend(
            "Vitis"
        ).get_layer_mult_size(layer)


def test_pointwise_layers_set_by_name_are_the_exception(model, tmp_path):
    """hls4ml keeps what it cannot build there, so the warning asks the user to change it."""
    config = write_config(model, "name")
    config["LayerName"]["steps"].update(Strategy="Resource", ReuseFactor=5)
    config["LayerName"]["steps"]["ParallelizationFactor"] = 5
    built = built_by_hls4ml(model, config, "io_parallel", tmp_path)["steps"]
    assert built.get_attr("reuse_factor") == built.get_attr("parallelization_factor") == 5
    with pytest.warns(ReuseFactorWarning) as caught:
        read = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    assert "Set it to 6" in str(caught[0].message)
    assert "Set it to 2" in str(caught[1].message)
    found = read["steps"].hls4ml
    assert (found.reuse_factor, found.parallelization_factor) == (6, 2)


@pytest.mark.parametrize("granularity", ["model", "type", "name"])
def test_weights_have_the_widths_that_hls4ml_gives_them(model, granularity, tmp_path):
    config = write_config(model, granularity)
    config["Model"]["Precision"]["default"] = "fixed<13,5>"
    if granularity == "name":
        config["LayerName"]["out"]["Precision"]["weight"] = "fixed<9,2>"
    built = built_by_hls4ml(model, config, "io_parallel", tmp_path)
    read = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    widths = {
        name: layer.get_weights("weight").type.precision.width for name, layer in built.items()
    }
    assert {n: read[n].hls4ml.weight_precision.width for n in built} == widths
    assert widths["out"] == (9 if granularity == "name" else 13)


def test_type_sections_apply_to_every_layer_of_the_type(model):
    config = write_config(model, "type")
    config["LayerType"]["Dense"].update(ReuseFactor=2, Strategy="Resource")
    read = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    used = {
        name: (
            layer.hls4ml.strategy,
            layer.hls4ml.reuse_factor,
        )
        for name, layer in read.items()
        if layer.weight_shape
    }
    assert used == {
        "conv2": ("Latency", 1),
        "conv1": ("Latency", 1),
        "steps": ("Resource", 2),
        "out": ("Resource", 2),
    }


def test_warnings_point_at_the_caller(model):
    config = write_config(model, "model", Strategy="Resource", ReuseFactor=5)
    with pytest.warns(ReuseFactorWarning, match="'conv2'.*=5 and uses 3") as caught:
        get_attributes_from_keras_model_and_hls4ml_config(model, config)
    assert all(warning.filename == __file__ for warning in caught)
    with pytest.warns(ReuseFactorWarning) as caught:
        fabricfit.estimate(model, config)
    own = [warning for warning in caught if warning.category is ReuseFactorWarning]
    assert own and all(warning.filename == __file__ for warning in own)


def test_a_converted_model_is_a_configuration(tmp_path):
    from fabricfit.hls4ml.plain import plain_configuration

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="fc")])
    config = {"Model": {"Precision": "fixed<12,4>", "ReuseFactor": 2, "Strategy": "Resource"}}
    converted = hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, output_dir=str(tmp_path), backend="Vitis", io_type="io_stream"
    )
    read = plain_configuration(converted)
    assert read["IOType"] == "io_stream" and "KerasModel" not in read
    assert read["HLSConfig"]["Model"]["ReuseFactor"] == 2
