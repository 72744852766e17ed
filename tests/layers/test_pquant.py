"""Layers of PQuantML are read as others that compute the same at inference, bit for bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.layers.pquant_formats import standing_quantizer
from fabricfit.network.reader import read, read_in_place
from fabricfit.network.translation import is_translated, translated

pytestmark = [pytest.mark.keras, pytest.mark.pquant]

pytest.importorskip("pquant", exc_type=ImportError)
from pquant.core.keras import layers as pq
from pquant.core.keras.activations import PQActivation, PQSoftmax
from pquant.core.keras.quantizer import Quantizer

from tests.layers.pquant_models import (
    configure,
    convolutions,
    dense,
    images,
    samples,
    sequences,
    train,
)

HGQ = {"use_high_granularity_quantization": True}
MODES = {
    "pruned": {},
    "bits by channel": {"granularity": "per_channel", "pruning_first": False},
    "bits by weight": {"method": "mdmm", "granularity": "per_weight", "round_mode": "RND_CONV"},
    "bits of data that follow it": {
        "method": "ap",
        "round_mode": "TRN",
        "overflow_mode_data": "WRAP",
        "overflow_mode_parameters": "SAT_SYM",
        "dynamic_data_quantization": True,
    },
    "trained bits": {"method": "dst", **HGQ},
    "trained bits by weight": {"method": "dst", "granularity": "per_weight", **HGQ},
    "trained bits that wrap": {
        "overflow_mode_data": "WRAP",
        "overflow_mode_parameters": "WRAP",
        **HGQ,
    },
    "factors of rectifiers": {"use_relu_multiplier": True},
    "unquantized": {"enable_quantization": False, "use_relu_multiplier": True},
    "thresholds": {"method": "autosparse"},
    "sparsification": {"method": "cs"},
    "activities of inputs": {"method": "wanda"},
}
NETWORKS = {
    "images": (images, {}),
    "images, by channel": (images, {"granularity": "per_channel", "use_relu_multiplier": True}),
    "images, trained bits": (images, {"method": "dst", "round_mode": "RND_CONV", **HGQ}),
    "depthwise": (convolutions, {"use_relu_multiplier": True}),
    "depthwise, trained bits": (convolutions, {"granularity": "per_weight", **HGQ}),
    "sequences": (sequences, {}),
    "sequences, factors": (sequences, {"use_relu_multiplier": True}),
    "sequences, trained bits": (sequences, {"method": "dst", **HGQ}),
}


def check_same(model, made=None):
    """Check that what a model is read as computes the same, and return it."""
    made = read(model).model if made is None else made
    assert is_translated(model) and not is_translated(made)
    X, _ = samples(model)
    expected = keras.ops.convert_to_numpy(model(X, training=False))
    assert np.unique(expected).size > 5
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(made(X, training=False)), expected)
    return made


@pytest.mark.parametrize("final", [False, True], ids=["masked", "compressed"])
@pytest.mark.parametrize("mode", MODES)
def test_dense_networks_compute_the_same(mode, final):
    config = configure(**MODES[mode])
    model = train(dense(config), config, final)
    before = [keras.ops.convert_to_numpy(each) for each in model.variables]
    check_same(model)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), old)


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutional_networks_compute_the_same(name):
    build, options = NETWORKS[name]
    config = configure(**options)
    check_same(train(build(config), config))


@pytest.mark.parametrize("activation", ["tanh", "hard_tanh"])
@pytest.mark.parametrize("options", [{}, HGQ], ids=["given bits", "trained bits"])
def test_activations_become_tables(activation, options):
    config = configure(use_real_tanh=True, **options)
    made = check_same(train(dense(config, activation), config))
    assert [type(layer).__name__ for layer in made.layers].count("QUnaryFunctionLUT") == 2


def test_layers_put_in_the_place_of_others_are_read():
    config = configure(use_relu_multiplier=True)
    plain = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.SeparableConv2D(3, 2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.AveragePooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )
    check_same(train(pq.add_compression_layers(plain, config, (None, 6, 6, 2)), config))


def test_layers_in_models_and_layers_called_twice_are_read():
    config = configure()
    inner = keras.Sequential([keras.Input((4,)), pq.PQDense(config, 4, name="in")], name="block")
    given = keras.Input((4,), name="given")
    twice = pq.PQDense(config, 4, name="twice")
    x = PQActivation(config, "relu", name="act")(twice(inner(twice(given))))
    made = check_same(keras.Model(given, x))
    assert made.output_names == ["act"]


def test_operations_and_layers_of_keras_stay():
    config = configure()
    given = keras.Input((4,), name="given")
    x = keras.ops.abs(pq.PQDense(config, 4, name="fc")(given)) + 0.5
    made = check_same(keras.Model(given, keras.layers.Dense(3, name="out")(x)))
    assert [type(layer).__name__ for layer in made.layers][1] == "QDense"


def test_an_output_keeps_its_name_where_it_is_rounded():
    config = configure()
    given = keras.Input((4,), name="given")
    x = pq.PQDense(config, 4, name="fc")(given)
    model = keras.Model(given, PQActivation(config, "relu", quantize_output=True, name="act")(x))
    assert check_same(model).output_names == ["act"]


@given(
    bits=st.tuples(st.integers(0, 1), st.integers(-3, 5), st.integers(-2, 8)),
    rounding=st.sampled_from(["RND", "RND_CONV", "TRN", "TRN_ZERO", "RND_INF", "RND_MIN_INF"]),
    overflow=st.sampled_from(["SAT", "SAT_SYM", "WRAP"]),
    power=st.integers(-3, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_quantizers_round_alike(bits, rounding, overflow, power, seed):
    quantizer = Quantizer(*bits, overflow, rounding, granularity="per_tensor", is_data=True)
    quantizer.build((None, 16))
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2.0 ** (bits[1] + 1), (3, 16)).astype("float32")
    x[0] = np.round(x[0] * 2.0 ** (bits[2] + 1)) / 2.0 ** (bits[2] + 1)  # halfway between two
    if sum(bits) <= 0:
        with pytest.raises(InvalidInputError, match="a format without bits"):
            standing_quantizer(quantizer, "q", power)
        return
    part = standing_quantizer(quantizer, "q", power)
    part.layer.build((None, 16))
    part.fill(part.layer)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(part.layer(np.ldexp(x, power))),
        np.ldexp(keras.ops.convert_to_numpy(quantizer(x)), power),
    )


@pytest.mark.parametrize(
    "options", [{}, {"granularity": "per_weight", **HGQ}], ids=["given", "trained"]
)
def test_pruned_weights_stay_zero_whatever_is_trained(options):
    config = configure(**options)
    made = check_same(train(dense(config), config))
    for name in ("fc1", "fc2"):
        layer = made.get_layer(name)
        pruned = keras.ops.convert_to_numpy(layer.qkernel) == 0
        layer._kernel.assign(np.full(layer._kernel.shape, 0.5))
        assert 0.2 < pruned.mean() < 0.8
        assert (keras.ops.convert_to_numpy(layer.qkernel)[pruned] == 0).all()


def test_given_bits_are_not_trained():
    assert len(check_same(dense(configure())).trainable_variables) == 6
    assert len(check_same(dense(configure(**HGQ))).trainable_variables) > 6


def build_attention(config):
    given = keras.Input((3, 4), name="given")
    return keras.Model(given, pq.PQMultiheadAttention(config, 4, 2, name="at")(given)[0])


def build_soft(config):
    model = dense(config)
    pq.post_pretrain_functions(model, config)
    pq.pre_epoch_functions(model, 0, 1)
    return model


def build_searching(config):
    config.fitcompress_parameters.enable_fitcompress = True
    return dense(config)


def build_softmax(config):
    given = keras.Input((4,), name="given")
    return keras.Model(given, PQSoftmax(config, name="sm")(given))


REFUSED = {
    "attention": (build_attention, {}, r"'at' \(PQMultiheadAttention\).*hgq.layers"),
    "soft masks": (
        build_soft,
        {"method": "autosparse", "pruning_first": False},
        r"'fc1' \(PQDense\).*pre_finetune_functions",
    ),
    "a search": (build_searching, {}, r"'act1' \(PQActivation\).*enable_fitcompress=False"),
    "tables": (build_softmax, {"round_mode": "TRN"}, r"'sm' \(PQSoftmax\).*round by TRN.*RND_CONV"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layers_compute_is_refused_with_the_way_out(name):
    build, options, said = REFUSED[name]
    with pytest.raises(InvalidInputError, match=f"(?s){said}"):
        read(build(configure(**options)))


def test_a_model_that_is_to_be_changed_itself_is_refused():
    with pytest.raises(InvalidInputError, match=r"'fc1' \(PQDense\).*load_model"):
        read_in_place(dense(configure()))


def test_a_call_with_more_than_inputs_is_refused():
    given = keras.Input((4,), name="given")
    x = pq.PQDense(configure(), 3, name="fc")(given, training=True)
    with pytest.raises(InvalidInputError, match=r"'fc' \(PQDense\): it is called with more"):
        translated(keras.Model(given, x))
