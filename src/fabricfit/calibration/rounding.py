"""A network with its tensors and weights rounded to number formats, in floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from fabricfit.calibration.figures import Samples
from fabricfit.calibration.running import Runner, assigned
from fabricfit.calibration.tensors import Key, Numbers, Plan
from fabricfit.firmware.emulation.fixed import FixedTensor, Format
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import to_numpy
from fabricfit.network.reader import Network
from fabricfit.precision.formats import TensorFormat

__all__ = [
    "biases_on_grid",
    "bits_by_key",
    "in_format",
    "rounded_outputs",
    "rounded_weights",
    "weights_on_grid",
]

Formats = Sequence[TensorFormat | None]


def in_format(numbers: np.ndarray, form: TensorFormat) -> np.ndarray:
    """Return numbers as a format holds them, with its modes of rounding and overflow.

    Raises
    ------
    InvalidInputError
        The format has more bits than are emulated exactly.
    """
    modes = form.rounding, form.overflow
    exact = Format(form.width, form.width - form.fractional, form.signed, *modes)
    return FixedTensor.from_float(numbers, exact).to_float()


def bits_by_key(numbers: Sequence[Numbers], formats: Sequence[TensorFormat]) -> dict[Key, int]:
    """Return the fractional bits of the tensors among some numbers."""
    return {
        each.key: form.fractional
        for each, form in zip(numbers, formats, strict=True)
        if each.kernel is None
    }


def rounded_weights(numbers: Sequence[Numbers], formats: Formats) -> ExitStack:
    """Return a context in which the weights of a network are rounded to their formats, if they have one."""
    stack = ExitStack()
    for each, form in zip(numbers, formats, strict=True):
        if each.kernel is not None and form is not None:
            variable = each.kernel.variable
            stack.enter_context(assigned(variable, in_format(to_numpy(variable), form)))
    return stack


def rounded_outputs(
    runner: Runner,
    numbers: Sequence[Numbers],
    formats: Formats,
    samples: Samples,
    batch_size: int,
) -> list[np.ndarray]:
    """Return the outputs of a network whose tensors and weights are rounded to formats, where they have one.

    Parameters
    ----------
    runner
        Runs the network.
    numbers, formats
        Tensors and weights, and the format of each.
    samples
        The samples.
    batch_size
        Samples that are computed at once.
    """
    by_key = {
        each.key: form
        for each, form in zip(numbers, formats, strict=True)
        if each.kernel is None and form is not None
    }

    def change(key: Key, values: np.ndarray) -> np.ndarray:
        return in_format(values, by_key[key]) if key in by_key else values

    with rounded_weights(numbers, formats):
        parts = [
            runner.outputs(runner.run(batch.inputs, change))
            for batch in samples.batches(batch_size)
        ]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def weights_on_grid(network: Network, plan: Plan, formats: Sequence[TensorFormat]) -> None:
    """Give a copy of a plan's network weights on the grids of their formats, in place."""
    for kernel, own in _pair_kernels(network, plan):
        for each, form in zip(plan.numbers, formats, strict=True):
            if each.kernel is not None and each.kernel.variable is own.variable:
                kernel.variable.assign(in_format(to_numpy(own.variable), form).astype("float32"))


def biases_on_grid(
    network: Network, plan: Plan, derived: Mapping[tuple[str, str], TensorFormat]
) -> None:
    """Give a copy of a plan's network biases on the grids of their formats, in place."""
    nodes = {id(call.kernel.variable): call.named.node for call in plan.calls if call.kernel}
    for kernel, own in _pair_kernels(network, plan):
        form = derived.get((nodes.get(id(own.variable), ""), "bias"))
        if form is not None and kernel.bias is not None and own.bias is not None:
            kernel.bias.assign(in_format(to_numpy(own.bias), form).astype("float32"))


def _pair_kernels(network: Network, plan: Plan) -> list[tuple[Kernel, Kernel]]:
    own = plan.network.kernels
    return [(kernel, own[name]) for name, kernel in network.kernels.items()]
