"""What is read from hls4ml's graph and from the Keras model; whole networks are in test_verification."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation import emulate, emulate_network
from fabricfit.firmware.emulation.tables import float_function
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.firmware.simulation import CapturedOutput, convert
from fabricfit.network.reader import read
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def converted(model, config, folder, io_type="io_parallel"):
    return convert(model, config, folder, CapturedOutput(), backend="Vitis", io_type=io_type)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    model = models.tagger()
    return model, converted(model, models.tagger_config(model), tmp_path_factory.mktemp("tagger"))


def test_every_layer_has_results_of_its_shape(tagger):
    model, graph = tagger
    found = emulate(model, graph, models.samples(model, 7))
    shapes = {n.name: tuple(n.get_output_variable().shape) for n in graph.get_layers()}
    assert {name: x.shape[1:] for name, x in found.items()} == shapes
    assert {len(x) for x in found.values()} == {7}


def test_results_follow_the_model(tagger):
    """Coarse formats and tables, so roughly: the emulation is of this network and not of another."""
    model, graph = tagger
    X = np.clip(models.samples(model, 200), -2, 2).astype("float32")
    emulated = emulate(model, graph, X)["out_softmax"]
    exact = keras.ops.convert_to_numpy(model(X))
    assert np.corrcoef(emulated.ravel(), exact.ravel())[0, 1] > 0.9


def test_folded_normalizations_are_found_and_multiplied_in(tagger):
    model, graph = tagger
    nodes = {node.name: node for node in graph.get_layers()}
    weights = KerasWeights(read(model), frozenset(nodes))
    assert [norm.name for norm in weights.folded_into("folding")] == ["folded"]
    assert [weights.folded_into(name) for name in ("fast", "shared", "out")] == [[], [], []]
    assert weights.unaccounted() == []
    written = nodes["folding"].get_weights("weight").data.T  # transposed by Resource
    kernel = weights.kernel(nodes["folding"])
    assert np.abs(kernel.to_float() - written).max() <= 2.0**-kernel.format.fractional
    bias = weights.bias(nodes["folding"]).to_float()
    assert np.abs(bias - nodes["folding"].get_weights("bias").data).max() <= 2.0**-10


def test_layers_that_vanish_are_told(tagger):
    present = {"fast", "kept", "folding", "unrolled", "many", "out"}
    weights = KerasWeights(read(tagger[0]), frozenset(present))
    assert weights.unaccounted() == ["shared"]


def test_layers_that_are_not_modelled_take_what_was_observed(tmp_path, monkeypatch):
    models.forget(monkeypatch, "ParametrizedActivation")
    x = features = keras.Input((4,))
    x = keras.layers.Dense(3, activation="elu", name="bent")(x)
    model = models.seeded(features, keras.layers.Dense(2, name="out")(x))
    graph = converted(model, models.write_config(model, {}), tmp_path)
    X = models.samples(model, 5)
    with pytest.raises(InvalidInputError, match=r"'bent_elu' .*ParametrizedActivation is not mod"):
        emulate(model, graph, X)
    seen = np.arange(15.0).reshape(5, 3) / 4
    found = emulate_network(model, graph, X, {"bent_elu": seen})
    assert found.not_modelled == {"bent_elu": "layers of the class ParametrizedActivation"}
    np.testing.assert_array_equal(found.layers["bent_elu"].to_float(), seen)
    exact = seen @ model.get_layer("out").get_weights()[0] + model.get_layer("out").get_weights()[1]
    np.testing.assert_allclose(found.layers["out"].to_float(), exact, atol=0.02)


def test_numbers_that_are_too_wide_are_refused_with_the_layers_name(tmp_path):
    features = keras.Input((4,))
    model = models.seeded(features, keras.layers.Dense(2, name="wide")(features))
    graph = converted(model, models.write_config(model, {}, default="fixed<40,20>"), tmp_path)
    with pytest.raises(InvalidInputError, match=r"layer 'wide' cannot be emulated.*62 bits"):
        emulate(model, graph, models.samples(model))


def test_a_softmax_that_cannot_tell_its_inputs_apart_is_remarked(tmp_path):
    """hls4ml's automatic formats: 38 bits, 18 of them before the point, and 1024 entries."""
    features = keras.Input((40,))
    model = models.seeded(features, keras.layers.Dense(5, activation="softmax", name="o")(features))
    X = models.samples(model)
    blind = converted(model, models.write_config(model, {}), tmp_path / "blind")
    found = emulate_network(model, blind, X)
    (remark,) = found.remarks
    assert "softmax 'o_softmax'" in remark
    assert "steps of 256" in remark
    assert len(np.unique(found.layers["o_softmax"].values)) == 1
    config = models.write_config(model, {}, {"o": {"result": "fixed<16,6>"}})
    found = emulate_network(model, converted(model, config, tmp_path / "sharp"), X)
    assert not found.remarks
    assert len(np.unique(found.layers["o_softmax"].values)) > 20


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_functions_are_those_of_single_precision(name):
    x = np.linspace(-8, 8, 501, dtype=np.float32)
    np.testing.assert_allclose(float_function(name)(x), getattr(np, name)(x), rtol=3e-7)
    assert float_function(name)(x).dtype == np.float32
