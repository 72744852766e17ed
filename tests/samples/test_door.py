"""One door for data: what Keras takes is mapped by name, once; what fits nothing is refused by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.network.ends import read_ends
from fabricfit.samples import Door, check_class_weight, inputs_of, open_data

pytestmark = pytest.mark.keras

L = keras.layers
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(9, 4)).astype("float32"), RNG.normal(size=(9, 1)).astype("float32")
ONE, TWO = RNG.normal(size=(9, 1)).astype("float32"), RNG.integers(0, 3, 9)
W = RNG.random(9).astype("float32")


def two_sided(inputs=list, outputs=list):
    """A model of two inputs and two outputs, whose order is not that of the alphabet."""
    a, b = keras.Input((4,), name="zin"), keras.Input((1,), name="ain")
    hidden = L.Concatenate(name="join")([a, b])
    made = {"zeta": L.Dense(1, name="zeta")(hidden), "alpha": L.Dense(3, name="alpha")(hidden)}
    given = {"zin": a, "ain": b} if inputs is dict else [a, b]
    return keras.Model(given, made if outputs is dict else list(made.values()))


def single():
    return keras.Sequential([keras.Input((4,)), L.Dense(3, "softmax", name="out")])


def door(model=None, **options):
    return Door(read_ends(two_sided() if model is None else model), **options)


X_FORMS = {
    "list": [A, B],
    "tuple": (A, B),
    "by name": {"ain": B, "zin": A},
    "more than is needed": {"ain": B, "zin": A, "other": A},
    "columns": [A, B[:, 0]],
    "lists of numbers": [A.tolist(), B.tolist()],
}
Y_FORMS = {
    "list": [ONE, TWO],
    "tuple": (ONE, TWO),
    "by name": {"alpha": TWO, "zeta": ONE},
    "by name, in order": {"zeta": ONE, "alpha": TWO},
}


@pytest.mark.parametrize("form", X_FORMS)
@pytest.mark.parametrize("structure", [list, dict])
def test_inputs_come_in_the_models_order(form, structure):
    model = two_sided(structure)
    if structure is dict and not isinstance(X_FORMS[form], dict):  # refused by Keras, too
        with pytest.raises(
            InvalidInputError, match="X_train must be a dict by the names 'ain', 'zin'"
        ):
            open_data((X_FORMS[form], [ONE, TWO]), "train", door(model))
        return
    found = open_data((X_FORMS[form], [ONE, TWO]), "train", door(model))
    a, b = (found.X["zin"], found.X["ain"]) if structure is dict else found.X
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(b, B)
    ordered = (A, B) if structure is list else (B, A)  # as model.inputs
    for ours, expected in zip(inputs_of(read_ends(model), X_FORMS[form]), ordered, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    assert [tuple(each.shape) for each in model(found.X)] == [(9, 1), (9, 3)]


@pytest.mark.parametrize("form", Y_FORMS)
def test_targets_come_in_the_order_of_outputs(form):
    found = open_data(([A, B], Y_FORMS[form]), "train", door())
    for ours, expected in zip(found.y.labels, (ONE, TWO), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert found.y.weights == ()


def test_a_dict_of_outputs_goes_by_its_keys():
    """Keras flattens it by sorted keys, and so are the labels."""
    model = two_sided(outputs=dict)
    for y in ({"zeta": ONE, "alpha": TWO}, {"alpha": TWO, "zeta": ONE}):
        found = open_data(([A, B], y), "train", door(model))
        shapes = [tuple(each.shape[1:]) for each in keras.tree.flatten(model([A, B]))]
        assert shapes == [(3,), (1,)] and found.y.labels[0].shape == (9,)


W_FORMS = {
    "one for all": (W, (W, W)),
    "each": ([W, 2 * W], (W, 2 * W)),
    "by name": ({"alpha": 2 * W, "zeta": W}, (W, 2 * W)),
    "some": ({"alpha": 2 * W}, (None, 2 * W)),
    "none for one": ([None, 2 * W], (None, 2 * W)),
    "none": (None, None),
}


@pytest.mark.parametrize("form", W_FORMS)
def test_weights_come_in_the_order_of_outputs(form):
    given, expected = W_FORMS[form]
    found = open_data(([A, B], [ONE, TWO], given), "train", door())
    if expected is None:
        assert found.y.weights == ()
        return
    for place, each in enumerate(expected):
        ours = found.y.weights_of(place)
        assert (ours is None) == (each is None)
        if each is not None:
            np.testing.assert_array_equal(ours, each)


def test_parts_may_be_named():
    found = open_data({"X": A, "y": TWO, "w": W}, "train", door(single()))
    np.testing.assert_array_equal(found.X, A)
    np.testing.assert_array_equal(found.y.weights_of(0), W)
    with pytest.raises(InvalidInputError, match=r"'zin'.*goes into a pair"):
        open_data({"zin": A, "y": TWO}, "train", door(single()))


def test_data_frames_and_series_are_arrays():
    pandas = pytest.importorskip("pandas")
    frame, series = pandas.DataFrame(A), pandas.Series(TWO)
    found = open_data((frame, series), "train", door(single()))
    np.testing.assert_array_equal(found.X, A)
    np.testing.assert_array_equal(found.y.labels[0], TWO)
    columns = {"zin": frame, "ain": pandas.Series(B[:, 0])}
    found = open_data((columns, [ONE, TWO]), "train", door())
    np.testing.assert_array_equal(found.X[1], B)


def test_batches_of_a_source_are_mapped_one_by_one():
    def source():
        for start in (0, 4, 8):
            cut = slice(start, start + 4)
            yield {"ain": B[cut], "zin": A[cut]}, {"alpha": TWO[cut], "zeta": ONE[cut]}, W[cut]

    found = open_data(source, "train", door())
    for _ in range(2):
        X, y = zip(*found.batches(), strict=True)
        np.testing.assert_array_equal(np.concatenate([each[0] for each in X]), A)
        np.testing.assert_array_equal(np.concatenate([each.labels[1] for each in y]), TWO)
        np.testing.assert_array_equal(np.concatenate([each.weights[0] for each in y]), W)
    read = open_data(list(source()), "train", door())
    np.testing.assert_array_equal(read.y.labels[0], ONE)


@pytest.mark.parametrize(
    "parts, message",
    [
        ((A, [ONE, TWO]), "X_train must hold one array for each of the model's 2 inputs: 'zin', 'ain'"),
        (([A, B, B], [ONE, TWO]), "2 inputs.*Received: 3"),
        (({"zin": A}, [ONE, TWO]), "X_train.*'zin' and 'ain'. Missing: 'ain'"),
        (({"zin": A, "aim": B}, [ONE, TWO]), "Missing: 'ain'; received the keys: 'zin', 'aim'"),
        (([A, B], {"zeta": ONE, "alhpa": TWO}), "y_train has the key 'alhpa'.*are 'zeta' and 'alpha'"),
        (([A, B], {"zeta": ONE}), "y_train.*Missing: 'alpha'"),
        (([A, B], ONE), "y_train must hold one array for each of the model's 2 outputs"),
        (([A, B], [ONE, TWO, TWO]), "2 outputs.*Received: 3"),
        (([A, B], [ONE, TWO[:5]]), r"equally many samples. Received: \[5, 9\]"),
        (([A, B], [ONE, TWO], W[:5]), r"equally many samples. Received: \[5, 9\]"),
        (([A, B], [ONE, TWO], -W), "weights_train must not be negative"),
        (([A, B], [ONE, TWO], np.full(9, np.nan)), "weights_train must not hold NaN"),
        (([A, B], [ONE, TWO], 0 * W), "weights_train must be above 0 for some sample"),
        (([A, B], [ONE, TWO], np.ones((9, 3))), "one number for each sample"),
        (([A, B], [ONE, TWO], [W]), "2 outputs"),
        (([A, B], [ONE, TWO], {"zeta": W, "beta": W}), "the key 'beta'"),
    ],
)  # fmt: skip
def test_what_fits_nothing_is_refused_by_name(parts, message):
    with pytest.raises(FabricFitError, match=message):
        open_data(parts, "train", door())


def test_outputs_without_a_loss_need_no_labels():
    for y in (ONE, [ONE], {"zeta": ONE}):
        found = open_data(([A, B], y), "train", door(needed=(0,)))
        np.testing.assert_array_equal(found.y.labels[0], ONE)
        assert found.y.labels_of(1) is None


@pytest.mark.parametrize("labels", [TWO, TWO[:, None], np.eye(3)[TWO], TWO.astype("float64")])
def test_weights_of_classes_are_those_of_keras(labels):
    class_weight = {0: 3.0, 2: 0.5}  # 1 for the class that is not named
    expected = np.array([3.0, 1.0, 0.5], "float32")[TWO]
    mapped = door(single(), class_weight=check_class_weight(class_weight))
    found = open_data((A, labels), "train", mapped)
    np.testing.assert_allclose(found.y.weights_of(0), expected)
    both = open_data((A, labels, W), "train", mapped)
    np.testing.assert_allclose(both.y.weights_of(0), expected * W, rtol=1e-6)


def test_weights_of_negative_and_unknown_classes():
    labels = np.array([-1, 1, 1, 7, -1, 0, 3, 3, 3])
    mapped = door(single(), class_weight=check_class_weight({1: 2.0, -1: 5.0}))
    found = open_data((A, labels), "train", mapped)
    np.testing.assert_array_equal(found.y.weights_of(0), [5, 2, 2, 1, 5, 1, 1, 1, 1])


@pytest.mark.parametrize("wrong", [{}, [1, 2], {"a": 1}, {0: -1}, {0: np.nan}, {0.5: 1}, 3])
def test_what_is_no_weight_of_classes_is_refused(wrong):
    with pytest.raises(InvalidInputError, match="class_weight must be a dict"):
        check_class_weight(wrong)


def test_weights_of_classes_are_for_one_output():
    with pytest.raises(InvalidInputError, match="for models of one output"):
        door(class_weight={0: 1.0})


def test_two_outputs_of_one_name_need_a_list():
    shared = L.Dense(1, name="shared")
    given = [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    model = keras.Model(given, [shared(each) for each in given])
    with pytest.raises(InvalidInputError, match="several outputs of the model are named 'shared'"):
        open_data(([A, A], {"shared": ONE}), "train", door(model))
    assert open_data(([A, A], [ONE, ONE]), "train", door(model)).y.labels[1].shape == (9, 1)


def test_nested_structures_go_as_the_model_nests_them():
    a, b, c = (keras.Input((size,), name=name) for size, name in ((4, "p"), (1, "q"), (1, "c")))
    joined = L.Concatenate(name="join")([a, b, c])
    model = keras.Model({"z": [a, b], "c": c}, L.Dense(1, name="o")(joined))
    found = open_data(({"z": [A, B], "c": 2 * B}, ONE), "train", door(model))
    expected = keras.ops.convert_to_numpy(model({"z": [A, B], "c": 2 * B}))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(found.X)), expected, rtol=1e-6)
    with pytest.raises(InvalidInputError, match="X_train must have the structure"):
        open_data(({"z": [A], "c": 2 * B}, ONE), "train", door(model))
