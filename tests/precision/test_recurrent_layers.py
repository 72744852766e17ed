"""Layers with products inside them: rounded weights, and what is multiplied at which price."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.description.precision import FixedPrecision
from fabricfit.network.reader import read
from fabricfit.precision.cost import estimate_costs
from fabricfit.precision.model import build_precision_model
from fabricfit.precision.start import start_bits
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L, outputs_of
from tests.marks import first_quick

pytestmark = pytest.mark.keras

STEPS, CHANNELS = 4, 3

LAYERS = {
    "LSTM": lambda: L.LSTM(4, name="layer"),
    "GRU": lambda: L.GRU(4, return_sequences=True, name="layer"),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3), name="layer"),
    "SimpleRNN": lambda: L.SimpleRNN(4, unroll=True, name="layer"),
    "LSTM with dropout": lambda: L.LSTM(4, dropout=0.2, recurrent_dropout=0.2, name="layer"),
    "MultiHeadAttention": lambda: L.MultiHeadAttention(2, 3, name="layer"),
}

of_each = pytest.mark.parametrize("kind", first_quick(LAYERS, 3, elsewhere=1))


def to_numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)


def model_of(kind):
    keras.utils.set_random_seed(0)
    start = keras.Input((STEPS, CHANNELS), name="start")
    layer = LAYERS[kind]()
    return keras.Model(start, layer(start, start) if "Head" in kind else layer(start))


def prepared(kind, **options):
    made = build_precision_model(read(model_of(kind)), by_channel=False, **options)
    wrapper = made.weights["layer"]
    rng = np.random.default_rng(0)
    for bits in wrapper.bits:
        bits.assign(rng.uniform(-0.4, 4.4, bits.shape))
    for variable in wrapper.layer.trainable_variables:  # biases of zeros would prove little
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return made, wrapper


def samples(count=7):
    return np.random.default_rng(1).normal(size=(count, STEPS, CHANNELS)).astype("float32")


@of_each
def test_the_layer_computes_with_its_rounded_weights(kind):
    """As a plain layer of Keras does that has these weights, on rounded inputs."""
    made, wrapper = prepared(kind)
    plain = model_of(kind)
    layer = plain.get_layer("layer")
    for ours, theirs in zip(layer.variables, wrapper.layer.variables, strict=True):
        ours.assign(theirs)
    names = [kernel.variable.path.split("/")[-2:] for kernel in wrapper.kernels]
    for product in wrapper.products:
        bits = np.round(to_numpy(product.bits))
        given = to_numpy(product.kernel.variable)
        np.testing.assert_array_equal(
            product.weights, np.floor(given * 2.0**bits + 0.5) / 2.0**bits
        )
        (place,) = [
            place
            for place, each in enumerate(wrapper.layer.variables)
            if each is product.kernel.variable
        ]
        layer.variables[place].assign(product.weights)
    assert len(names) == len(wrapper.bits) > 1
    rounded = outputs_of(made.observed, [samples()])["start_format"][0]
    np.testing.assert_array_equal(outputs_of(made.model, samples()), outputs_of(plain, rounded))


@of_each
def test_every_kernel_and_its_bits_are_trained(kind):
    made, wrapper = prepared(kind)
    engine = make_engine(made.model, "mse", keras.optimizers.SGD(0.05))
    made.price.value.assign(1e-4)
    wrapper.kernels[1].variable.assign(0 * wrapper.kernels[1].variable.value + 0.3)
    before = [to_numpy(each) for each in (*(k.variable for k in wrapper.kernels), *wrapper.bits)]
    y = np.ones((32, *made.model.output_shape[1:]), "float32")
    engine.train_epoch(Data(samples(32), y), np.arange(32), 32)
    after = [to_numpy(each) for each in (*(k.variable for k in wrapper.kernels), *wrapper.bits)]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))


@of_each
def test_the_price_is_bits_of_weights_times_bits_of_what_they_multiply(kind):
    """That is the rounded input, or a tensor inside the layer, whose format does not change."""
    made, wrapper = prepared(kind, inner={"layer": FixedPrecision(11, 4)})
    made.price.value.assign(1.0)
    made.model(samples(), training=True)
    (width,) = to_numpy(made.formats["layer"].widths)
    assert width > 0
    positions = STEPS if "Head" in kind else 1  # steps in time share their products
    expected = 0
    for product in wrapper.products:
        inner = product.kernel.part.split("/")[-1] in ("recurrent_kernel", "output")
        sizes = np.abs(product.integers)
        leading = sum(int(each).bit_length() for each in sizes.ravel())
        expected += positions * leading * (11 if inner else width)
    assert float(to_numpy(sum(made.model.losses))) == pytest.approx(expected, rel=1e-5)
    found = sum(cost.bits for cost in estimate_costs(made).values())
    assert found == pytest.approx(expected)
    assert list(estimate_costs(made)) == [f"layer/{k.part}" for k in wrapper.kernels]


def test_weights_that_are_zero_stay_so():
    """A pruned model stays pruned, also where an optimizer moves everything else."""
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv1D(4, 2, activation="relu", name="conv"),
        L.GRU(4, name="recurrent"),
        L.Dense(2, name="out"),
    ]
    made = build_precision_model(read(keras.Sequential([keras.Input((STEPS, CHANNELS)), *layers])))
    rng, masks = np.random.default_rng(0), {}
    for name, product in made.products.items():
        masks[name] = rng.random(product.kernel.shape) < 0.5
        product.kernel.variable.assign(
            np.where(masks[name], 0.0, to_numpy(product.kernel.variable))
        )
    start_bits(made, [samples()])
    engine = make_engine(made.model, "mse", keras.optimizers.Adam(0.05))
    made.price.value.assign(1e-5)
    data = Data(samples(64), rng.normal(size=(64, 2)).astype("float32"))
    before = {name: to_numpy(each.kernel.variable) for name, each in made.products.items()}
    for _ in range(3):
        engine.train_epoch(data, np.arange(64), 16)
    for name, product in made.products.items():
        after = to_numpy(product.kernel.variable)
        assert not after[masks[name]].any() and not product.integers[masks[name]].any()
        assert (after != before[name])[~masks[name]].any()


def test_inputs_of_attention_are_rounded_each_by_itself():
    first, second = keras.Input((STEPS, 3), name="first"), keras.Input((5, 2), name="second")
    model = keras.Model(
        [first, second], L.MultiHeadAttention(2, 3, name="layer")(first, value=second)
    )
    made = build_precision_model(read(model), by_channel=False)
    wrapper = made.weights["layer"]
    names = [source and source.name for source in wrapper.sources]
    assert names == ["first_format", "second_format", "second_format", None]
    assert wrapper.instances == (STEPS, 5, 5, STEPS)
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(6, *each.shape[1:])).astype("float32") for each in model.inputs]
    assert np.isfinite(outputs_of(made.model, X)).all()
