"""The door for configurations: plain data in hls4ml's spelling, or an error that suggests the nearest."""

import enum
import json
import pathlib

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.description.precision import FixedPrecision
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.firmware import realize
from fabricfit.hls4ml import ConfigurationWarning
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import read
from tests.common import L, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


class Strategy(enum.Enum):
    RESOURCE = "Resource"


def config(**sections):
    model = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}
    return {"Model": model, **sections}


def opened(given, model=None):
    return open_configuration(given, read(model or mlp()))


def test_any_way_to_say_it_becomes_the_same_plain_data():
    plain = config(LayerName={"fc1": {"Precision": {"weight": "fixed<8,2>"}, "ReuseFactor": 2}})
    plain["LayerName"]["fc1"]["Strategy"] = "Resource"
    ways = (
        (np.int64(2), "RESOURCE", FixedPrecision(8, 2)),
        ("2", Strategy.RESOURCE, "FIXED<8,2>"),
        (np.array(2), "resource", "fixed<8,2>"),
        (2.0, np.str_("Resource"), "fixed<8,2>"),
    )
    for factor, strategy, precision in ways:
        section = {"ReuseFactor": factor, "Strategy": strategy, "Precision": {"weight": precision}}
        given = config(LayerName={"FC1": section})
        found = opened(given)
        assert found == plain
        assert json.loads(json.dumps(found)) == plain
        assert given["LayerName"]["FC1"] is section  # what was given stays as it is


def test_what_hls4ml_reads_beside_is_kept():
    sections = {
        "fc1": {"Trace": True, "Compression": False, "TableSize": 512, "table_t": "fixed<9,1>"},
        "fc1_relu": {"TableSize": 1024, "Precision": {"result": "auto", "table": "fixed<18,8>"}},
        "out_softmax": {"Implementation": "stable", "Skip": False, "Strategy": "Stable"},
    }
    model = {"Precision": {"default": "fixed<16,6>", "maximum": "fixed<32,16>"}, "ReuseFactor": 1}
    model |= {"Strategy": "Latency", "BramFactor": 10**9, "TraceOutput": False, "BitExact": None}
    given = {"Model": model, "LayerName": sections, "Optimizers": ["a"], "Other": {"kept": (1, 2)}}
    assert opened(given) == {**given, "Other": {"kept": [1, 2]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LayerName": {"fc11": {"ReuseFactor": 2}}}, "'fc11'.*no layer.*Did you mean 'fc1'"),
        ({"LayerName": {"dense_fc2": {"ReuseFactor": 2}}}, "Did you mean 'fc2'"),
        ({"LayerName": {"fc1_tanh": {"ReuseFactor": 2}}}, "'fc1_tanh'.*Did you mean 'fc1'"),
        ({"LayerName": {"fc1_0": {"ReuseFactor": 2}}}, "'fc1_0' *.* Did you mean 'fc1'"),
        ({"LayerName": {"other": {}}}, "'other'.*Its layers are .*'fc1', 'fc2', 'out'"),
        ({"LayerType": {"Conv2D": {"ReuseFactor": 2}}}, "'Conv2D'.*no layer.*It has .*'Dense'"),
        ({"LayerType": {"Dens": {"ReuseFactor": 2}}}, "'Dens'.*Did you mean 'Dense'"),
        ({"LayerName": {"fc1": {"ReuseFactr": 2}}}, "'ReuseFactr'.*Did you mean 'ReuseFactor'"),
        ({"LayerName": {"fc1": {"Strategi": 2}}}, "'Strategi'.*Did you mean 'Strategy'"),
        ({"LayerName": {"fc1": {"Precision": {"wieght": "fixed<8,2>"}}}}, "Did you mean 'weight'"),
        ({"LayerName": {"fc1": {"Precision": "fixed<8,2,RNDD>"}}}, "Did you mean 'RND'"),
        ({"LayerName": {"fc1": {"Precision": "fixd<8,2>"}}}, "'fc1'.*expected a precision"),
        ({"LayerName": {"fc1_relu": {"Strategy": "Unrolled"}}}, "'fc1_relu'.*ResourceUnrolled"),
        ({"LayerName": {"out_softmax": {"ReuseFactor": 0}}}, "must be a whole number from 1 to"),
        ({"LayerName": {"fc1": {"ReuseFactor": 10**400}}}, "whole number.*Received.*2[*][*]1328"),
        ({"LayerName": {"fc1": {"Trace": "yes"}}}, "'Trace'. must be true or false"),
        ({"LayerName": {"fc1": {"RecurrentReuseFactor": "x"}}}, "must be a whole number"),
        ({"IOType": ""}, "IOType.*must be one of"),
        ({"IOType": []}, "IOType.*must be one of"),
        ({"Foo": 5}, "'Foo', which hls4ml does not read"),
        ({"LayerName": {"fc1": {"ConvImplementation": "Linebufer"}}}, "Did you mean 'LineBuffer'"),
        ({"LayerName": {"fc1": {}, "FC1": {}}}, "of the same layer"),
        ({"LayersName": {"fc1": {}}}, "'LayersName'.*Did you mean 'LayerName'"),
        ({"Strategy": "Resource"}, "'Strategy'.*under 'Model'"),
        ({"IOType": "io_paralel"}, "Did you mean 'io_parallel'"),
    ],
)
def test_what_fits_nothing_is_an_error_that_suggests_the_nearest(change, message):
    with pytest.raises(InvalidInputError, match=message):
        opened({**config(), **change})
    with pytest.raises(InvalidInputError, match=message):
        opened({"HLSConfig": {**config(), **change}, "OutputDir": pathlib.Path("here")})


def test_every_function_refuses_a_section_that_fits_no_layer():
    model = mlp()
    given = config(LayerName={"dense_fc1": {"ReuseFactor": 6, "Strategy": "Resource"}})
    with pytest.warns(ConfigurationWarning, match="'dense_fc1'.*Did you mean 'fc1'[?] hls4ml"):
        open_configuration(given, read(model), lenient=True)
    for refuse in (
        lambda: fabricfit.estimate(model, given),
        lambda: realize(model, given),
        lambda: fabricfit.verify(model, given, compile=False),
        lambda: fabricfit.get_attributes_from_keras_model_and_hls4ml_config(model, given),
    ):
        with pytest.raises(InvalidInputError, match="'dense_fc1'"):
            refuse()
    with pytest.raises(InvalidInputError, match="ReuseFactr"):
        fabricfit.estimate(model, config(LayerName={"fc1": {"ReuseFactr": 6}}))


@pytest.mark.parametrize("given", [3, ["Model"], config(LayerName={"fc1": object()})])
def test_what_is_no_data_is_refused(given):
    with pytest.raises(InvalidTypeError):
        opened(given)
    with pytest.raises(InvalidTypeError, match=r"config\['Model'\]\['ReuseFactor'\]"):
        opened({"Model": {"ReuseFactor": object()}})


def test_names_are_those_that_hls4ml_gives_to_calls():
    """It numbers the calls of a shared layer, and takes the letters of 'input' for used."""
    shared, start = L.Dense(4, activation="relu", name="shared"), keras.Input((4,), name="x")
    model = keras.Model(start, L.Dense(2, name="n")(shared(shared(start))))
    names = ("x", "shared", "shared_relu", "shared_0", "shared_relu_0", "n_0")
    sections = {name: {"Precision": {"result": "fixed<9,3>"}} for name in names}
    assert list(opened(config(LayerName=sections), model)["LayerName"]) == list(sections)
    for wrong in ("shared_1", "n", "shared_0_relu"):
        with pytest.raises(InvalidInputError, match=f"'{wrong}'"):
            opened(config(LayerName={wrong: {}}), model)


def test_files_and_folders_are_read(tmp_path):
    pytest.importorskip("yaml")
    plain = config(LayerName={"fc1": {"Precision": {"weight": "fixed<8,2>"}, "ReuseFactor": 2}})
    (tmp_path / "one.json").write_text(json.dumps(plain))
    text = """
Backend: Vitis
KerasModel: !keras_model somewhere/keras_model.keras
IOType: io_parallel
HLSConfig:
  Model: {Precision: 'fixed<16,6>', ReuseFactor: 1, Strategy: Latency}
  LayerName:
    fc1:
      ReuseFactor: 2
      Precision:
        weight: !!python/object:hls4ml.model.types.FixedPrecisionType
          _rounding_mode: &id001 !!python/object/apply:hls4ml.model.types.RoundingMode [7]
          _saturation_bits: 0
          _saturation_mode: !!python/object/apply:hls4ml.model.types.SaturationMode [2]
          integer: 2
          signed: false
          width: 8
    fc2:
"""
    (tmp_path / "hls4ml_config.yml").write_text(text)
    assert opened(tmp_path / "one.json") == plain
    for given in (tmp_path, str(tmp_path / "hls4ml_config.yml")):
        found = opened(given)
        assert "KerasModel" not in found
        assert found["HLSConfig"]["LayerName"] == {
            "fc1": {"ReuseFactor": 2, "Precision": {"weight": "ufixed<8,2,RND_CONV,SAT,0>"}},
            "fc2": {},
        }
    for wrong in ("nothing.yml", "broken.json"):
        (tmp_path / "broken.json").write_text("{")
        with pytest.raises(InvalidInputError, match=wrong.partition(".")[0]):
            opened(tmp_path / wrong)
