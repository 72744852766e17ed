"""Layers of all kinds, emulated and compiled, many in one project."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.firmware import QuantizedNetwork, quantize_to_grid
from fabricfit.firmware.verification import verify
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.reader import read
from tests.common import L
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytest.importorskip("hls4ml")

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]

IMAGE, LINE, ROW = (3, 4, 2), (4, 3), (6,)


def slopes():
    return L.PReLU(alpha_initializer=keras.initializers.RandomNormal(stddev=0.5), name="prelu")


MOVING = {
    "up1": (LINE, lambda: L.UpSampling1D(2, name="up1")),
    "up2": (IMAGE, lambda: L.UpSampling2D((2, 3), name="up2")),
    "turned": (LINE, lambda: L.Permute((2, 1), name="turned")),
    "permuted": (IMAGE, lambda: L.Permute((3, 1, 2), name="permuted")),
    "cut1": (LINE, lambda: L.Cropping1D((1, 2), name="cut1")),
    "cut2": (IMAGE, lambda: L.Cropping2D(((1, 0), (0, 2)), name="cut2")),
    "words": (ROW, lambda: L.Embedding(8, 3, name="words")),
}
BENDING = {
    "prelu": (LINE, slopes),
    "elu": (ROW, lambda: L.ELU(0.7, name="elu")),
    "leaky": (ROW, lambda: L.LeakyReLU(negative_slope=0.3, name="leaky")),
    "above": (ROW, lambda: L.ReLU(threshold=0.7, name="above")),
    "hard_sigmoid": (ROW, lambda: L.Activation("hard_sigmoid", name="hard_sigmoid")),
    **{
        name: (ROW, lambda name=name: L.Activation(name, name=name))
        for name in ("selu", "softplus", "softsign")
    },
}
EINSUMS = {
    "last": (LINE, lambda: L.EinsumDense("abc,cd->abd", (4, 5), bias_axes="d", name="last")),
    "groups": (IMAGE, lambda: L.EinsumDense("abcd,cde->aebc", (5, 3, 4), name="groups")),
    "inside": (IMAGE, lambda: L.EinsumDense("abcd,dbe->ace", (4, 5), bias_axes="e", name="inside")),
    "dots": (IMAGE, lambda: L.EinsumDense("...c,cd->...d", 3, bias_axes="d", name="dots")),
    "places": (LINE, lambda: L.EinsumDense("abc,cd->abd", (4, 3), bias_axes="bd", name="places")),
}
MERGES = {
    "product": (LINE, LINE, lambda: L.Multiply(name="product")),
    "mean": (LINE, LINE, lambda: L.Average(name="mean")),
    "more": (LINE, LINE, lambda: L.Maximum(name="more")),
    "less": (LINE, LINE, lambda: L.Minimum(name="less")),
    "difference": (LINE, LINE, lambda: L.Subtract(name="difference")),
    "dot": (ROW, ROW, lambda: L.Dot(1, name="dot")),
    "shifted": (LINE, (1, 3), lambda: L.Add(name="shifted")),
}


def build(cases):
    """A model in which every case has inputs of its own, and the samples for it."""
    rng, inputs, outputs, X = np.random.default_rng(1), [], [], []
    for name, (*shapes, make) in cases.items():
        own = [keras.Input(shape, name=f"to_{name}_{i}") for i, shape in enumerate(shapes)]
        outputs.append(make()(own if len(own) > 1 else own[0]))
        inputs += own
        words = isinstance(outputs[-1]._keras_history.operation, L.Embedding)
        X += [
            rng.integers(0, 8, (60, *shape)) if words else rng.normal(0, 3, (60, *shape))
            for shape in shapes
        ]
    return models.seeded(inputs, outputs), X


def check(cases, io_type, **precisions):
    model, X = build(cases)
    config = models.write_config(model, {}, default="fixed<9,3,RND,SAT>")
    for name in cases:
        config["LayerName"][name]["Precision"].update(
            result="fixed<7,3,RND_CONV>", accum="fixed<9,4>"
        )
        config["LayerName"][name]["Precision"].update(precisions.get(name, {}))
    for name, own in config["LayerName"].items():
        if name.startswith("to_words"):
            own["Precision"]["result"] = "uint<3>"
    found = verify(model, config, X, io_type=io_type)
    assert not found.mismatches and not found.not_modelled, str(found)
    assert found.outputs_agree and found.counts_agree, str(found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_layers_that_move_numbers(io_type):
    check(MOVING, io_type)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_activations(io_type):
    assert check(BENDING, io_type).overflows


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_merged_inputs(io_type):
    streamed = io_type == "io_stream"
    check({k: v for k, v in MERGES.items() if not (streamed and k in ("dot", "shifted"))}, io_type)


@pytest.mark.slow
@pytest.mark.parametrize("accum", ["fixed<9,4>", "fixed<8,4,RND,SAT>", "fixed<24,12>"])
def test_einsums(accum):
    check(EINSUMS, "io_parallel", **{name: {"accum": accum} for name in EINSUMS})


@pytest.mark.slow
def test_einsums_by_adder_graphs():
    """Exact sums, held by the accumulator before the bias is added."""
    pytest.importorskip("da4ml")
    model, X = build({name: EINSUMS[name] for name in ("groups", "places")})
    config = {
        "Model": {
            "Precision": "fixed<9,3>",
            "ReuseFactor": 1,
            "Strategy": "distributed_arithmetic",
        }
    }
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    found = verify(quantize_to_grid(model, attributes)[0], config, X, io_type="io_parallel")
    assert not found.mismatches and not found.not_modelled and found.outputs_agree, str(found)
    assert {layer.multipliers for layer in found.layers} == {0}


def test_words_without_an_entry_are_refused():
    """The code reads whatever is behind its table."""
    words = keras.Input((3,), name="words")
    model = models.seeded(words, L.Embedding(5, 2, name="layer")(words))
    config = models.write_config(model, {}, {"words": {"result": "uint<3>"}})
    exact = QuantizedNetwork(read(model), config)
    assert exact.predict([np.full((2, 3), 4)])[0].shape == (2, 3, 2)
    with pytest.raises(InvalidInputError, match="none of the numbers 0 to 4"):
        exact.predict([np.full((2, 3), 5)])
