"""Keras layers that train number formats: of a tensor, and of the weights of the layer that they wrap.

A model of them is an ordinary Keras model, so that every engine, optimizer and Keras' own ``fit`` trains it.
What training needs of a batch, the widths of tensors and the price of a bit, are variables that do not train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.family import family_of
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import to_numpy
from fabricfit.precision.rounding import (
    leading_bits,
    power_of_two,
    round_held,
    round_trained,
    whole_bits,
    with_gradient,
)

__all__ = [
    "DEFAULT_INNER",
    "Price",
    "TrainedFormat",
    "TrainedProduct",
    "TrainedWeights",
    "sum_by_channel",
]

DEFAULT_INNER = FixedPrecision(16, 6)
"""hls4ml's own format, which tensors inside a layer have where the configuration states no other."""

_MARGIN = 0.99
"""Part of the last bit that is added before a width is found, so that a power of two needs a bit more."""


class Price(keras.layers.Layer):
    """The price of a bit of a weight times a bit of an input, which is added to the loss."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.value = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="value", dtype="float32"
        )
        self.built = True


class TrainedFormat(keras.layers.Layer):
    """Rounds a tensor to fractional bits that are trained, one number of them for each channel.

    Parameters
    ----------
    channels
        Entries of the last axis, each with bits of its own; 1 where the whole tensor shares them.
    start
        Fractional bits to start with.
    limits
        Size at which each channel saturates, shape (channels,): only for a tensor that is rounded before
        the network, where saturation costs nothing.
    """

    def __init__(
        self,
        channels: int,
        *,
        start: float,
        limits: Sequence[float] | np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.channels, self.start = channels, start
        self.limits = None if limits is None else np.asarray(limits, "float32")

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        self.bits = self.add_weight(
            shape=(self.channels,),
            initializer=keras.initializers.Constant(self.start),
            name="bits",
        )
        self.widths = self.add_weight(
            shape=(self.channels,), initializer="zeros", trainable=False, name="widths"
        )

    def call(self, x: Any, training: bool = False) -> Any:
        """Round; in training, note the widths that the batch needs."""
        if self.limits is not None:
            step = power_of_two(-whole_bits(self.bits))
            limits = ops.convert_to_tensor(self.limits)
            x = ops.clip(x, -limits, ops.maximum(limits - step, 0.0))
        rounded = round_trained(x, self.bits)
        if training:
            self.widths.assign(self._find_widths(ops.stop_gradient(rounded)))
        return rounded

    @property
    def trained_bits(self) -> list[keras.Variable]:
        """The fractional bits."""
        return [self.bits]

    @property
    def priced_widths(self) -> Any:
        """The widths of the last batch, with the gradient of the fractional bits in them."""
        widths = ops.convert_to_tensor(self.widths)
        return with_gradient(widths, self.bits, ops.cast(widths > 0, widths.dtype))

    def _find_widths(self, rounded: Any) -> Any:
        fractional = whole_bits(self.bits)
        axes = tuple(range(len(rounded.shape) - (self.channels > 1)))
        largest, least = ops.max(rounded, axis=axes), ops.min(rounded, axis=axes)
        size = ops.reshape(ops.maximum(largest, -least), (self.channels,))
        signed = ops.cast(ops.reshape(least, (self.channels,)) < 0, size.dtype)
        top = ops.maximum(size + _MARGIN * power_of_two(-fractional), 1e-9)
        found = ops.ceil(ops.log2(top)) + fractional + signed
        return ops.where((size > 0) & (found > 0), found, ops.zeros_like(found))


class TrainedWeights(keras.layers.Layer):
    """A layer whose weights are rounded to fractional bits that are trained, one number for each weight.

    The loss gets the price of its products: bits of a weight times bits of what it multiplies, times the
    price of one such pair. What a layer makes and multiplies inside itself is not rounded: it has a number
    format of its own.

    Parameters
    ----------
    layer
        The layer, of a family that has kernels.
    sources
        What rounds the input that each of its kernels multiplies; None for a tensor inside the layer.
    price
        The price of a bit of a weight times a bit of an input.
    start
        Fractional bits to start with.
    instances
        How often the hardware holds the products of each kernel: once for each position and call that has
        its own.
    inner
        The number format of tensors inside the layer.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        sources: Sequence[TrainedFormat | None],
        price: Price,
        *,
        start: float,
        instances: Sequence[int] = (1,),
        inner: FixedPrecision = DEFAULT_INNER,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.layer = layer
        self.sources, self.price = tuple(sources), price
        self.start, self.instances, self.inner = start, tuple(instances), inner

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        if not self.layer.built:
            self.layer.build(shape)
        family = family_of(self.layer)
        assert family is not None
        self.kernels = family.kernels(self.layer)
        self.bits = [
            self.add_weight(
                shape=kernel.shape,
                initializer=keras.initializers.Constant(self.start),
                name=f"{(kernel.part or 'kernel').replace('/', '_')}_bits",
            )
            for kernel in self.kernels
        ]

    def call(self, x: Any, *others: Any, training: bool = False, **options: Any) -> Any:
        """Compute the layer's results with rounded weights; in training, add the price of its bits."""
        values = {
            id(variable): ops.convert_to_tensor(variable) for variable in self.layer.variables
        }
        total: Any = 0.0
        for product in self.products:
            variable = product.kernel.variable
            values[id(variable)], integers = round_held(values[id(variable)], product.bits)
            if training:
                total = total + product.instances * product.count_bits(integers)
        if _trains(self.layer):
            options["training"] = training
        mapping = [(variable, values[id(variable)]) for variable in self.layer.variables]
        with keras.StatelessScope(mapping) as scope:
            results = self.layer(x, *others, **options)
        for variable in self.layer.non_trainable_variables:
            variable.assign(scope.get_current_value(variable))
        if training:
            self.add_loss(ops.convert_to_tensor(self.price.value) * total)
        return results

    @property
    def source(self) -> TrainedFormat:
        """What rounds the layer's input; of several, the first one."""
        return next(source for source in self.sources if source is not None)

    @property
    def has_inner(self) -> bool:
        """Whether the layer multiplies tensors that it makes inside itself."""
        return None in self.sources

    @property
    def products(self) -> list[TrainedProduct]:
        """Each kernel with its bits, and what it multiplies."""
        columns = zip(self.kernels, self.bits, self.sources, self.instances, strict=True)
        return [
            TrainedProduct(kernel, bits, source, instances, self.inner)
            for kernel, bits, source, instances in columns
        ]

    @property
    def trained_bits(self) -> list[keras.Variable]:
        """The fractional bits of each kernel."""
        return list(self.bits)

    def integers(self) -> list[np.ndarray]:
        """Return the rounded weights of each kernel in units of each one's last bit, as integers."""
        return [product.integers for product in self.products]


@dataclass(frozen=True, eq=False)
class TrainedProduct:
    """A kernel whose weights are rounded, and what it multiplies.

    Parameters
    ----------
    kernel
        The kernel.
    bits
        The fractional bits of its weights.
    source
        What rounds the input that it multiplies; None for a tensor inside the layer.
    instances
        How often the hardware holds it.
    inner
        The number format of tensors inside the layer.
    """

    kernel: Kernel
    bits: keras.Variable
    source: TrainedFormat | None
    instances: int
    inner: FixedPrecision

    @property
    def integers(self) -> np.ndarray:
        """The rounded weights in units of each one's last bit, as integers."""
        bits = to_numpy(whole_bits(self.bits)).astype(int)
        scaled = np.ldexp(to_numpy(self.kernel.variable), bits)
        return np.floor(scaled + 0.5).astype(np.int64)

    @property
    def weights(self) -> np.ndarray:
        """The rounded weights, exactly."""
        bits = to_numpy(whole_bits(self.bits)).astype(int)
        weights: np.ndarray = np.ldexp(self.integers.astype(float), -bits)
        return weights

    @property
    def widths(self) -> np.ndarray:
        """Bits of each channel that it multiplies, as the last batch needed them; one number for all."""
        if self.source is None:
            return np.full(1, self.inner.width, np.float32)
        return to_numpy(self.source.widths)

    def count_bits(self, integers: Any) -> Any:
        """Return bits of weights times those of their inputs, summed, for one position.

        Parameters
        ----------
        integers
            Sizes of the rounded weights in units of the last bit.
        """
        used = ops.cast(integers > 0, integers.dtype)
        found = with_gradient(leading_bits(integers), self.bits, used)
        if self.source is None:
            return self.inner.width * ops.sum(found)
        widths = self.source.priced_widths
        by_channel = sum_by_channel(self.kernel, found, widths.shape[0])
        return ops.sum(by_channel * widths)


def sum_by_channel(kernel: Kernel, values: Any, channels: int, xp: Any = ops) -> Any:
    """Return the sums of what there is for each weight over all that multiply a channel of the input.

    Parameters
    ----------
    kernel
        The kernel.
    values
        A number for each weight, in the kernel's shape.
    channels
        Channels of the input, or 1.
    xp
        The array namespace that computes: ``numpy`` or ``keras.ops``.
    """
    axes, axis = kernel.axes.axes, kernel.channel_axis
    values = xp.reshape(values, axes)
    by_entry = xp.sum(values, axis=tuple(place for place in range(len(axes)) if place != axis))
    return xp.sum(xp.reshape(by_entry, (-1, channels)), axis=0)


def _trains(layer: Any) -> bool:
    return bool(getattr(layer, "_call_has_training_arg", False))
