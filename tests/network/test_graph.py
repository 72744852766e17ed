import keras
import numpy as np
from keras import layers

from fabricfit.network.graph import is_readable, read_graph
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def by_name(graph):
    return {call.name: call for call in graph.calls}


def test_sequential_is_a_chain():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.ReLU(name="r")])
    graph = read_graph(model)
    assert [call.name for call in graph.calls[1:]] == ["a", "r"]
    calls = by_name(graph)
    assert calls["r"].inputs == calls["a"].outputs
    assert graph.outputs == (calls["r"].output.index,)
    assert [tensor.units for tensor in graph.tensors] == [3, 4, 4]


def test_every_call_comes_after_the_calls_it_needs():
    inputs = keras.Input((3,))
    a = layers.Dense(4)(inputs)
    b = layers.Add()([layers.Dense(4)(a), a])
    graph = read_graph(keras.Model(inputs, [layers.Dense(2)(b), a]))
    seen = set()
    for call in graph.calls:
        assert {tensor.index for tensor in call.inputs} <= seen
        seen |= {tensor.index for tensor in call.outputs}
    assert len(graph.outputs) == 2
    assert sorted(seen) == list(range(len(graph.tensors)))


def test_calls_outside_the_model_do_not_count():
    inputs = keras.Input((3,))
    a = layers.Dense(3, name="a")
    x = a(inputs)
    a(x)  # not part of the model below
    assert not by_name(read_graph(keras.Model(inputs, x)))["a"].shared
    assert by_name(read_graph(keras.Model(inputs, a(x))))["a"].shared


def test_arguments_besides_the_tensors_are_noticed():
    inputs = keras.Input((3,))
    x = layers.Dropout(0.5, name="plain")(inputs)
    x = layers.Dropout(0.5, name="off")(x, training=False)
    x = layers.Dropout(0.5, name="on")(x, training=True)
    calls = by_name(read_graph(keras.Model(inputs, layers.Add(name="add")([x, inputs]))))
    assert {name: call.plain for name, call in calls.items() if call.inputs} == {
        "plain": True,
        "off": True,
        "on": False,
        "add": True,
    }


def test_masks_and_unknown_units_are_noticed():
    steps = keras.Input((None, 4))
    x = layers.Dense(2, name="d")(layers.Masking(name="m")(steps))
    calls = by_name(read_graph(keras.Model(steps, layers.Flatten(name="f")(x))))
    assert not calls["m"].inputs[0].masked and calls["d"].inputs[0].masked
    assert calls["f"].output.units is None


def test_inner_sequential_that_is_not_built_is_not_readable():
    assert not is_readable(keras.Sequential([layers.Dense(2)]))
    built = keras.Sequential([layers.Dense(2)])
    built.build((None, 3))
    assert is_readable(built)
    assert np.shape(built.get_weights()[0]) == (3, 2)
