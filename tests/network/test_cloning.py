"""Copies of models: nothing is lost, whatever of the user's own is in them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from fabricfit.errors import InvalidInputError
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import read
from fabricfit.network.tracing import traced
from fabricfit.surgery.reduction import reduce_model
from tests.common import L, outputs_of, weights_of
from tests.marks import first_quick
from tests.network.own_models import (
    Around,
    Scale,
    activations,
    adapted,
    attention,
    gate,
    given_a_layer,
    half,
    lambdas,
    nested,
    objects,
    own_layers,
    relu,
    sequential,
    two_of_one_name_in_a_layer,
    wrapped,
)

pytestmark = pytest.mark.keras


MODELS = (
    lambdas,
    activations,
    objects,
    two_of_one_name_in_a_layer,
    own_layers,
    wrapped,
    given_a_layer,
    nested,
    attention,
    adapted,
    half,
)


def samples_for(model):
    rng = np.random.default_rng(1)
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(
        lambda tensor: rng.normal(size=(6, *tensor.shape[1:])).astype("float32"), inputs
    )


def working(model):
    return [each for each in model._flatten_layers() if not isinstance(each, L.InputLayer)]


def shaken(model):
    rng = np.random.default_rng(2)
    model.set_weights(
        [w + rng.normal(0, 0.2, w.shape).astype(w.dtype) for w in model.get_weights()]
    )
    return model


@pytest.mark.parametrize("make", first_quick(MODELS, 10, elsewhere=3))
def test_a_copy_computes_the_same_and_shares_no_weights(make):
    model = make() if make is adapted else shaken(make())
    X, before = samples_for(model), weights_of(model)
    attributes = [dict(vars(layer)) for layer in model._flatten_layers()]
    expected, penalties = outputs_of(model, X), [float(each) for each in model.losses]
    copy = copy_model(model)
    found = outputs_of(copy, X)
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([float(each) for each in copy.losses], penalties, rtol=1e-5)
    layers = list(zip(working(copy), working(model), strict=True))
    assert all(new is not old and new.name == old.name for new, old in layers)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert [v.constraint is None for v in copy.variables] == [
        v.constraint is None for v in model.variables
    ]
    shaken(copy)
    for a, b in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for layer, known in zip(model._flatten_layers(), attributes, strict=True):
        assert all(vars(layer)[name] is value for name, value in known.items() if callable(value))


@pytest.mark.parametrize("make", [own_layers, nested, wrapped, objects])
def test_a_copy_of_a_copy_is_one_too(make):
    model = shaken(make())
    X = samples_for(model)
    copies = keras.tree.flatten(outputs_of(copy_model(copy_model(model)), X))
    for a, b in zip(copies, keras.tree.flatten(outputs_of(model, X)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_is_frozen_stays_frozen():
    model = nested()
    model.get_layer("inner").get_layer("a").inner.trainable = False
    model.get_layer("deep").trainable = False
    model.get_layer("out").bias.trainable = False
    frozen = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(2, name="b")])
    frozen.trainable = False
    frozen.get_layer("b").trainable = True
    for original in (model, frozen):
        copy = copy_model(original)
        assert [v.trainable for v in copy.variables] == [v.trainable for v in original.variables]
        assert [each.trainable for each in working(copy)] == [
            each.trainable for each in working(original)
        ]
        assert len(copy.trainable_variables) == len(original.trainable_variables)


def test_a_layer_in_two_models_stays_one_layer():
    model, copy = nested(), copy_model(nested())
    assert copy.get_layer("deep").get_layer("shared") is copy.get_layer("shared")
    assert len(copy.variables) == len(model.variables)


class Silent(L.Layer):
    """A layer that says nothing of its arguments."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


class Forgetful(L.Layer):
    """A layer that leaves out an argument."""

    def __init__(self, factor=1.0, units=4, penalty=0.0, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.units, self.penalty = factor, units, penalty

    def build(self, shape):
        regularizer = keras.regularizers.L2(self.penalty)
        self.kernel = self.add_weight(shape=(shape[-1], self.units), regularizer=regularizer)

    def call(self, x):
        return self.factor * ops.matmul(x, self.kernel)

    def get_config(self):
        return super().get_config()


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Silent(gate, name="own"), r"layer 'own' \(Silent\).*get_config"),
        (Forgetful(3.0, name="own"), r"layer 'own' \(Forgetful\).*other results"),
        (Forgetful(units=3, name="own"), r"layer 'own' \(Forgetful\).*\(4, 3\)"),
        (Forgetful(penalty=0.1, name="own"), r"penalties"),
        (Around(Forgetful(3.0, name="own")), r"layer 'own' \(Forgetful\).*other results"),
    ],
)
def test_what_cannot_be_copied_is_refused_by_layer(layer, named):
    model = sequential(layer)
    with pytest.raises(InvalidInputError, match=named):
        copy_model(model)


class Sub(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.first, self.layer, self.last = L.Dense(4, activation=relu), layer, L.Dense(2)

    def call(self, x):
        return self.last(self.layer(self.first(x))) + ops.where(x > 0, 1.0, 0.5)[:, :2]


def test_subclassed_models_are_copied_layer_by_layer():
    X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    for layer in (Scale(0.7, lambda x: x - 1), L.Lambda(lambda x: 2 * x), Sub(L.Activation(gate))):
        model = Sub(layer)
        model(X)
        np.testing.assert_allclose(outputs_of(traced(model), X), outputs_of(model, X), rtol=1e-5)
    model = Sub(Forgetful(3.0, name="own"))
    model(X)
    with pytest.raises(InvalidInputError, match="'own'"):
        traced(model)


class Stepping(keras.Sequential):
    def compute_loss(self, *args, **kwargs):
        return 2 * super().compute_loss(*args, **kwargs)


class Built(keras.Model):
    def __init__(self, size):
        start = keras.Input((size,))
        super().__init__(start, L.Dense(2)(start))

    def train_step(self, data):
        return {"loss": 0.0}


def test_a_copy_trains_as_its_original_or_there_is_none():
    model = Stepping([keras.Input((4,)), L.Dense(2)])
    assert type(copy_model(model)) is Stepping
    with pytest.raises(InvalidInputError, match=r"\(Built\) has a train_step of its own"):
        copy_model(Built(3))


def test_an_activation_may_depend_on_its_name():
    """A configuration that looks at what it describes is read as it is."""
    table = {"gate": gate, "linear": lambda x: x}

    class ByName(L.Layer):
        def __init__(self, function="linear", **kwargs):
            super().__init__(**kwargs)
            self.function = table.get(function, table["linear"])

        def call(self, x):
            return self.function(x)

        def get_config(self):
            return {**super().get_config(), "function": self.function.__name__}

    model = sequential(ByName("gate"))
    X = samples_for(model)
    np.testing.assert_allclose(outputs_of(copy_model(model), X), outputs_of(model, X), rtol=1e-5)


def test_layers_are_not_lost_where_a_model_is_rebuilt():
    def model(layer):
        return sequential(
            L.Dense(4, activation=gate), L.Dense(4, name="fc"), L.BatchNormalization(), layer
        )

    made = shaken(model(Scale(1.5, lambda x: x - 1, name="own")))
    X = samples_for(made)
    for work in (lambda m: fold_normalizations(read(m)).model, reduce_model):
        np.testing.assert_allclose(
            outputs_of(work(made), X), outputs_of(made, X), rtol=1e-4, atol=1e-5
        )
        with pytest.raises(InvalidInputError, match=r"layer 'own' \(Forgetful\)"):
            work(model(Forgetful(3.0, name="own")))
