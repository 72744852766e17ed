"""A model is read once, into data that is handed on."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.network import reader
from fabricfit.network.reader import as_network, read, read_if_possible
from tests.common import L, blobs, lenet, mlp, quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_a_network_sees_the_present_weights():
    model = mlp()
    network = read(model)
    kernel = np.ones((6, 8), "float32")
    model.get_layer("fc1").kernel.assign(kernel)
    np.testing.assert_array_equal(network.kernel_arrays()["fc1"], kernel)
    np.testing.assert_array_equal(network.kernel_views()["fc1"], kernel)


def test_a_network_is_frozen_and_read_no_second_time():
    network = read(lenet())
    assert as_network(network) is network and read_if_possible(network) is network
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.model = None


def test_layers_are_called_as_often_as_the_model_runs_them():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="twice")], name="inner")
    shared = L.Dense(4, name="thrice")
    x = shared(inner(shared(inner(shared(inputs)))))
    network = read(keras.Model(inputs, L.Dense(2, name="once")(x)))
    assert {name: network.times_called[name] for name in ("twice", "thrice", "once")} == {
        "twice": 2,
        "thrice": 3,
        "once": 1,
    }


def test_calls_of_other_models_do_not_count():
    layer, inputs = L.Dense(4, name="d"), keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    keras.Model(inputs, layer(layer(inputs)))
    assert read(model).times_called["d"] == 1


def test_the_units_of_only_that_output_of_a_nested_model_are_outputs_which_is_returned():
    x = keras.Input((4,))
    block = keras.Model(x, [L.Dense(3, name="a")(x), L.Dense(3, name="b")(x)], name="block")
    inputs = keras.Input((4,))
    a, b = block(inputs)
    model = keras.Model(inputs, [a, L.Dense(2, name="c")(b)])
    assert read(model).output_layers == {"a", "c"}


def test_an_input_that_a_nested_model_hands_on_leads_out_of_it_again():
    x = keras.Input((4,))
    block = keras.Model(x, L.Concatenate()([x, L.Dense(2, name="inner")(x)]), name="block")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, block(L.Dense(4, name="before")(inputs)))
    assert read(model).output_layers == {"before", "inner"}


def test_a_subclassed_model_is_read_as_a_functional_copy():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = L.Dense(3, name="first"), L.Dense(2, name="second")

        def call(self, x):
            return self.second(self.first(x))

    model = Two()
    assert read_if_possible(model) is None
    model(np.zeros((1, 4), "float32"))
    network = read(model)
    assert network.model is not model and list(network.kernels) == ["first", "second"]


def test_what_is_no_built_model_is_refused_by_its_argument():
    with pytest.raises(InvalidTypeError, match=r"^net must be a keras\.Model"):
        read(L.Dense(2), "net")
    with pytest.raises(InvalidInputError, match=r"is not built.*give it an Input"):
        read(keras.Sequential([L.Dense(2)]))


def test_kernels_of_layers_of_no_known_family_are_read_but_not_grouped():
    class Own(L.Dense):
        pass

    network = read(keras.Sequential([keras.Input((4,)), Own(3, name="own"), L.Dense(2, name="d")]))
    assert list(network.kernels) == ["own", "d"]
    assert list(network.grouped_kernels) == ["d"]


def test_reading_leaves_a_model_as_it_is():
    model = mlp()
    X, _ = blobs(8)
    before = model.predict(X, verbose=0)
    calls = {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    read(model)
    assert {layer.name: len(layer._inbound_nodes) for layer in model.layers} == calls
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)


@pytest.mark.parametrize("settings", [{}, {"compensation": 64, "distillation": 0.5}])
def test_a_fit_reads_the_model_and_the_copy_that_it_trains(settings, monkeypatch, tmp_path):
    readings = []

    def counted(model):
        readings.append(model.name)
        return read_graph(model)

    read_graph = reader.read_graph
    monkeypatch.setattr(reader, "read_graph", counted)
    X, y = blobs(64)
    options = quick_settings(tmp_path, batch_size=16, **settings)
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    budget = fabricfit.Budget.relative(dsp=0.5)
    fabricfit.fit(mlp(), (X, y), (X, y), budget, options, hls_config=config)
    assert len(readings) == 2
