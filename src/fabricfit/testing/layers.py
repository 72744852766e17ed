"""A check of what a layer family says, against what the layer computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fabricfit.curvature import hessian_method
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers import Kernel, LayerFamily, family_of, reason_to_skip, why_units_stay
from fabricfit.layers.activations import is_piecewise_linear
from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_array
from fabricfit.network.estimation import estimate
from fabricfit.network.reader import Network, read
from fabricfit.surgery.reduction import plan_reduction, reduce_model

__all__ = ["check_layer_family"]

_SAMPLES = 5
_STEP = 0.05
"""Change of the inputs along which results must be linear."""


def check_layer_family(
    make_layer: Callable[[], keras.layers.Layer],
    input_shape: tuple[int, ...],
    *,
    inputs: int = 1,
    words: int = 0,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> None:
    """Check that the registered family of a layer says what is true of the layer.

    The layer is put behind a dense layer and before another one, with random weights. Its kernels have to be
    its variables and of the shape of their layouts. Models with zeroed units, of the layer and of the one in
    front, have to compute the same when :func:`fabricfit.reduce_model` has removed them. Constants, the
    matrix form and piecewise linearity are compared with results of the layer.

    Parameters
    ----------
    make_layer
        Makes a new layer, the same each time.
    input_shape
        Shape of a sample.
    inputs
        Number of times that the sample is passed to the layer: attention needs it as query and as value.
    words
        For a layer that looks up words: their number. Samples are then whole numbers.
    seed
        Of the weights and samples.
    tolerance
        Largest difference of results, relative to the largest result.

    Raises
    ------
    AssertionError
        The family says something else; the message names the answer.

    Examples
    --------
    >>> import keras
    >>> from fabricfit.testing import check_layer_family
    >>> check_layer_family(lambda: keras.layers.Conv1D(4, 3), (8, 2))
    """
    bench = _Bench(make_layer, input_shape, inputs, words, seed, tolerance)
    _check_registration(bench)
    _check_kernels(bench)
    _check_matrix_form(bench)
    _check_linearity(bench)
    _check_units(bench)
    _check_estimate(bench)


class _Bench:
    """A layer between two dense ones, and how to make such models again."""

    def __init__(
        self,
        make_layer: Callable[[], keras.layers.Layer],
        input_shape: tuple[int, ...],
        inputs: int,
        words: int,
        seed: int,
        tolerance: float,
    ) -> None:
        self.make_layer, self.shape, self.inputs = make_layer, input_shape, inputs
        self.words, self.seed, self.tolerance = words, seed, tolerance
        self.model = self.build()
        layer = self.layer_of(self.model)
        found = family_of(layer)
        assert found is not None, (
            f"no family handles {type(layer)!r}: register one with register_layer, whose handles name the "
            "type exactly"
        )
        self.family: LayerFamily = found
        self.layer = layer
        self.name = f"{type(found).__name__} for {type(layer).__name__}"

    def build(self) -> keras.Model:
        """Return a new model with random weights."""
        given = keras.Input(self.shape, dtype="int32" if self.words else "float32")
        x = given if self.words else keras.layers.Dense(self.shape[-1], name="before")(given)
        layer = self.make_layer()
        layer.name = "checked"
        x = layer(*[x] * self.inputs)
        if len(x.shape) > 2:
            x = keras.layers.Flatten(name="flat")(x)
        model = keras.Model(given, keras.layers.Dense(3, name="after")(x))
        rng = np.random.default_rng(self.seed)
        for variable in model.weights:
            if keras.backend.is_float_dtype(variable.dtype) and not _is_of_quantizer(variable):
                numbers = rng.normal(0, 0.5, variable.shape)
                variable.assign(np.abs(numbers) + 0.2 if "variance" in variable.name else numbers)
        return model

    def layer_of(self, model: keras.Model) -> Any:
        return model.get_layer("checked")

    def call_of(self, network: Network) -> Call:
        return next(call for call in network.graph.calls if call.name == "checked")

    def samples(self, count: int = _SAMPLES) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        if self.words:
            return rng.integers(0, self.words, (count, *self.shape)).astype("int32")
        return rng.normal(0, 1, (count, *self.shape)).astype("float32")

    def results(self, x: np.ndarray) -> np.ndarray:
        """Return what the layer makes of inputs, at inference."""
        return to_array(self.layer(*[keras.ops.convert_to_tensor(x)] * self.inputs))


def _check_registration(bench: _Bench) -> None:
    kind = type(bench.layer)
    named = f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    assert kind in bench.family.handles or named in bench.family.handles, (
        f"{bench.name} is found for {kind!r}, which is not in its handles {bench.family.handles!r}"
    )
    work = bench.family.elementwise_work(bench.layer)
    assert isinstance(work, ElementwiseWork), (
        f"{bench.name}: elementwise_work must return an ElementwiseWork. Received: {work!r}"
    )
    if bench.family.final_activation is not None:
        assert callable(getattr(bench.layer, bench.family.final_activation, None)), (
            f"{bench.name}: the layer has no {bench.family.final_activation!r} that could be called, as "
            "final_activation says"
        )


def _check_kernels(bench: _Bench) -> None:
    kernels = bench.family.kernels(bench.layer)
    own = {id(variable) for variable in bench.layer.weights}
    names = [kernel.part for kernel in kernels]
    assert len(set(names)) == len(names), (
        f"{bench.name}: several kernels need a part each, all different. Received: {names}"
    )
    assert (names == [""]) or all(names), (
        f"{bench.name}: only a layer's only kernel has no part. Received: {names}"
    )
    for kernel in kernels:
        what = f"{bench.name}, kernel {kernel.part!r}"
        assert id(kernel.variable) in own, f"{what} is not one of the layer's weights"
        assert kernel.bias is None or id(kernel.bias) in own, f"{what}: its bias is not the layer's"
        size = int(np.prod(kernel.axes.axes))
        assert size == int(np.prod(kernel.shape)), (
            f"{what} has the shape {kernel.shape}, but its layout is of the axes {kernel.axes.axes}"
        )
        assert kernel.used().shape == kernel.shape, f"{what}: its quantizer changes its shape"
        assert hasattr(kernel.owner, kernel.regularizer), (
            f"{what}: its owner has no attribute {kernel.regularizer!r}"
        )
    if kernels:
        reason = reason_to_skip(bench.layer)
        assert isinstance(reason, str), f"{bench.name}: refusal must return a text, or ''"


def _check_matrix_form(bench: _Bench) -> None:
    """Compare the layer with the product that its matrix form describes."""
    form = bench.family.matrix_form(bench.layer)
    if form is None:
        return
    layer, x = bench.layer, bench.samples()
    shape, size = tuple(layer.kernel.shape), int(np.prod(layer.kernel.shape))
    rows = to_array(form.rows(layer, keras.ops.convert_to_tensor(x)))
    _, _, groups, n_in = rows.shape
    matrix = (n_in, groups, size // (groups * n_in))
    places = form.kernel(layer, np.arange(size).reshape(matrix))
    assert places.shape == shape, (
        f"{bench.name}: matrix_form.kernel returns the shape {places.shape} for a kernel of {shape}"
    )
    weights = np.empty(size)
    weights[places.reshape(-1)] = to_array(layer.kernel).reshape(-1)
    sums = np.einsum("npgi,igf->npgf", rows, weights.reshape(matrix)).astype("float32")
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        expected = bench.results(x)
    finally:
        layer.activation = activation
    found = to_array(form.restore(layer, keras.ops.convert_to_tensor(sums), expected.shape))
    if layer.bias is not None:
        expected = expected - to_array(layer.bias)
    _assert_close(found, expected, bench, "matrix_form does not give the layer's results")


def _check_linearity(bench: _Bench) -> None:
    """Compare second differences of results along a direction, nearly all of which have to vanish."""
    ends_linear = bench.family.final_activation is None or is_piecewise_linear(
        bench.family.function(bench.layer)
    )
    if not bench.family.piecewise_linear or bench.words or not ends_linear:
        return
    rng = np.random.default_rng(bench.seed + 2)
    x = bench.samples(20)
    along = rng.normal(0, _STEP, x.shape).astype("float32")
    before, at, behind = (bench.results(x + step * along) for step in (-1, 0, 1))
    bend = float(np.median(np.abs(before - 2 * at + behind)))
    assert bend <= 2e-5 * max(float(np.abs(at).max()), 1.0), (
        f"{bench.name} declares piecewise_linear, but the layer's results bend: along a short line they "
        f"differ from a straight one by {bend:.2g}"
    )


def _check_units(bench: _Bench) -> None:
    """Compare models with zeroed units with what is left of them without these units."""
    network = read(bench.model)
    call = bench.call_of(network)
    why = why_units_stay(call)
    assert why is None or (isinstance(why, str) and why), (
        f"{bench.name}: obstacle must return None or a sentence. Received: {why!r}"
    )
    if why is None:
        _check_links(bench, call)
    for silent in (False, True):
        model = bench.build()
        _zero_units(bench, model, silent)
        plan = plan_reduction(model)
        _check_same_function(bench, model)
        movable = why is None and bench.family.pins_output(call) is None
        if movable and silent and bench.family.has_own_units and bench.family.has_kernels:
            assert "checked" in plan.removed, (
                f"{bench.name}: a unit whose kernels and bias are zero is not removed: "
                f"{plan.kept.get('checked', 'no reason is given')}"
            )
        if movable and silent and not bench.family.has_own_units and not bench.words:
            assert "before" in plan.removed, (
                f"{bench.name} passes units, but one in front of it that is 0 everywhere is not removed: "
                f"{plan.kept.get('before', 'no reason is given')}"
            )


def _check_links(bench: _Bench, call: Call) -> None:
    for link in bench.family.links(call):
        units = (call.inputs[link.port].units or 0, call.output.units or 0)
        assert link.inputs.shape == link.outputs.shape, (
            f"{bench.name}: a link pairs {link.inputs.size} input units with {link.outputs.size} output units"
        )
        inside = (link.inputs < units[0]).all() and (link.outputs < units[1]).all()
        assert inside, (
            f"{bench.name}: a link names units beyond the {units[0]} and {units[1]} there are"
        )
    if not bench.family.has_own_units and len(call.inputs) == 1 and not bench.words:
        _check_reached_units(bench, call)


def _check_reached_units(bench: _Bench, call: Call) -> None:
    """Move one input unit at a time, which may change no output unit that it is not linked to."""
    x = bench.samples()
    before = bench.results(x)
    for unit in range(call.inputs[0].units or 0):
        moved = x.copy()
        moved[..., unit] += 0.5
        changed = np.abs(bench.results(moved) - before).reshape(-1, before.shape[-1]).max(axis=0)
        reached = np.flatnonzero(changed > 1e-6)
        linked = np.concatenate(
            [link.outputs[link.inputs == unit] for link in bench.family.links(call)]
        )
        assert np.isin(reached, linked).all(), (
            f"{bench.name}: input unit {unit} reaches output units {reached.tolist()}, but links name "
            f"{np.unique(linked).tolist()}"
        )


def _zero_units(bench: _Bench, model: keras.Model, silent: bool) -> None:
    """Zero the first units of the layer and of the one in front; with ``silent`` their biases, too."""
    for layer in (bench.layer_of(model), None if bench.words else model.get_layer("before")):
        family = family_of(layer) if layer is not None else None
        for kernel in family.kernels(layer) if family is not None else ():
            _zero_first_unit(kernel)
            if silent and kernel.bias is not None:
                kernel.bias.assign(np.zeros(kernel.bias.shape))


def _zero_first_unit(kernel: Kernel) -> None:
    axes, values = kernel.axes, to_array(kernel.variable)
    by_unit = np.array(axes.ordered(values, axes.by_unit, (axes.n_units, -1), np))
    by_unit[0] = 0
    kernel.variable.assign(axes.restored(by_unit, axes.by_unit, kernel.shape, np))


def _check_same_function(bench: _Bench, model: keras.Model) -> None:
    x = keras.ops.convert_to_tensor(bench.samples())
    reduced = reduce_model(model)
    _assert_close(
        to_array(reduced(x, training=False)),
        to_array(model(x, training=False)),
        bench,
        "the model without the units that are removed computes something else",
    )


def _check_estimate(bench: _Bench) -> None:
    found = estimate(bench.model)
    assert found.resources["lut"].value >= 0, f"{bench.name}: the estimate is negative"
    method = hessian_method(bench.model)
    if bench.family.piecewise_linear and bench.family.final_activation is None:
        assert method == "gauss-newton" or "checked" not in method, (
            f"{bench.name} declares piecewise_linear, but the Hessian's method is {method!r}"
        )


def _assert_close(found: np.ndarray, expected: np.ndarray, bench: _Bench, what: str) -> None:
    assert found.shape == expected.shape, (
        f"{bench.name}: {what}: shape {found.shape} instead of {expected.shape}"
    )
    largest = max(float(np.abs(expected).max(initial=0)), 1e-6)
    off = float(np.abs(found - expected).max(initial=0)) / largest
    assert off <= bench.tolerance, (
        f"{bench.name}: {what}: results differ by {off:.2g} of the largest"
    )


def _is_of_quantizer(variable: keras.Variable) -> bool:
    """Tell whether a variable belongs to a quantizer inside a layer, so that it is no weight."""
    return "quantizer" in variable.path or (
        not variable.trainable and "moving" not in variable.name
    )
