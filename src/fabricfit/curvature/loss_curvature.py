"""The Hessian of one sample's loss in the network's outputs, factored for backpropagation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from fabricfit.curvature.autodiff import Autodiff, Tensor
from fabricfit.curvature.linearity import Head
from fabricfit.curvature.losses import LossSum
from fabricfit.losses import function_of, options_of
from fabricfit.network.ends import Targets

__all__ = ["LossCurvature"]

_CROSS_ENTROPIES = (
    keras.losses.categorical_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)

_ELEMENTWISE_LOSSES = (
    keras.losses.mean_squared_error,
    keras.losses.mean_absolute_error,
    keras.losses.binary_crossentropy,
    keras.losses.huber,
    keras.losses.log_cosh,
    keras.losses.poisson,
)

_CONVEX_LOSSES = (
    keras.losses.mean_squared_error,
    keras.losses.mean_absolute_error,
    keras.losses.huber,
    keras.losses.log_cosh,
)

_STRAIGHT_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)

_ELEMENTWISE_ACTIVATIONS = (
    keras.activations.linear,
    keras.activations.sigmoid,
    keras.activations.tanh,
    keras.activations.relu,
    keras.activations.softplus,
    keras.activations.exponential,
    keras.activations.hard_sigmoid,
)


class LossCurvature:
    """Signed factors of the Hessian ``H = sum_k scale[k] * v[k] v[k]^T`` of each sample's loss.

    Softmax cross-entropy has the closed form ``diag(p) − p p^T = sum_k p[k] (e_k − p)(e_k − p)^T``,
    which stays accurate where the probabilities saturate. A loss that treats outputs one by one has
    a diagonal Hessian; any other is differentiated twice and decomposed into eigenvectors.

    Parameters
    ----------
    loss
        The loss, of one or several outputs.
    heads
        The activation that belongs to the loss, for each output.
    shapes
        Shape of each output for one sample; the network's outputs are their elements, C in all.
    autodiff
        The backend's adapter.

    References
    ----------
    N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
    Neural Computation 14 (2002) 1723.
    """

    def __init__(
        self,
        loss: LossSum,
        heads: Sequence[Head],
        shapes: Sequence[tuple[int, ...]],
        autodiff: Autodiff,
    ) -> None:
        self._loss = loss
        self._heads = heads
        self._shapes = shapes
        self._autodiff = autodiff
        self.size = sum(math.prod(shape) for shape in shapes)
        self._is_convex = self._has_no_negative_curvature()
        self._factors: Callable[..., tuple[Tensor, Tensor]] = self._by_eigenvectors
        if len(shapes) == 1 and len(shapes[0]) == 1 and self._is_softmax_cross_entropy():
            self._factors = self._of_softmax
        elif self._is_elementwise():
            self._factors = self._of_elements

    def numbers_per_sample(self, passes: int) -> int:
        """Estimate the numbers held for one sample when so many factors are asked for at once."""
        whole = self._factors == self._by_eigenvectors
        return 4 * self.size**2 if whole else 2 * passes * self.size

    def join(self, outputs: Sequence[Tensor]) -> Tensor:
        """Put the network's outputs side by side, shape ``(n, C)``."""
        flat = [ops.reshape(output, (output.shape[0], -1)) for output in outputs]
        return ops.cast(ops.concatenate(flat, axis=1), keras.config.floatx())

    def total(self, z: Tensor, y: Targets, weights: Tensor) -> Tensor:
        """Return the loss, summed over samples; of softmax cross-entropy without Keras' clipping.

        Parameters
        ----------
        z, y, weights
            As for :meth:`factors`.
        """
        if self._factors != self._of_softmax:
            return self._loss(y, self._outputs(z), weights)
        label_sum, targets = self._labels(z, y, weights)
        return ops.sum(label_sum * ops.logsumexp(z, axis=-1)) - ops.sum(targets * z)

    def gradient(self, z: Tensor, y: Targets, weights: Tensor) -> Tensor:
        """Return the derivatives of :meth:`total` in the network's outputs, shape ``(n, C)``."""

        def total(primals: list[Tensor]) -> tuple[Tensor, None]:
            return self.total(primals[0], y, weights), None

        value, _, pullback = self._autodiff.vjp(total, [ops.stop_gradient(z)])
        return pullback(ops.ones_like(value))[0]

    def factors(
        self, z: Tensor, y: Targets, weights: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return some of the C factors of every sample's Hessian.

        Parameters
        ----------
        z
            The network's outputs, shape ``(n, C)``.
        y
            Targets.
        weights
            Shape ``(n,)``, 0 for padding.
        index
            Which factors, shape ``(K,)``.

        Returns
        -------
        scale
            Shape ``(K, n)``, of either sign.
        vectors
            Shape ``(K, n, C)``.
        """
        return self._factors(ops.stop_gradient(z), y, weights, index)

    def combinations(
        self, z: Tensor, y: Targets, weights: Tensor, signs: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return random combinations of all factors: two sets of vectors, whose products are H on average.

        With independent signs r, ``sum_k r[k] sqrt|scale[k]| v[k]`` times the same sum with the sign of each
        scale is ``H`` in the mean over the signs.

        Parameters
        ----------
        z, y, weights
            As for :meth:`factors`.
        signs
            Shape ``(K, n, C)``: K combinations of each sample's C factors.

        Returns
        -------
        left, right
            Shape ``(K, n, C)``; ``right`` is None where it is ``left``, as no scale is negative.
        """
        z = ops.stop_gradient(z)
        signs = ops.cast(signs, z.dtype)
        if self._factors == self._of_softmax:
            p = ops.softmax(z, axis=-1)
            scale, _ = self._labels(z, y, weights)
            drawn = signs * ops.sqrt(p)[None]
            vectors = drawn - p[None] * ops.sum(drawn, axis=-1, keepdims=True)
            left = vectors * ops.sqrt(ops.abs(scale))[None, :, None]
            return left, self._with_signs(left, ops.sign(scale)[None, :, None])
        if self._factors == self._of_elements:
            diagonal = self._products(z, y, weights, ops.ones_like(z)[None])[0]
            left = signs * ops.sqrt(ops.abs(diagonal))[None]
            return left, self._with_signs(left, ops.sign(diagonal)[None])
        scale, vectors = self._by_eigenvectors(z, y, weights, ops.arange(self.size))
        scale = ops.transpose(scale)
        drawn = signs * ops.sqrt(ops.abs(scale))[None]
        left, right = (
            ops.einsum("knj,jnc->knc", each, vectors) for each in (drawn, drawn * ops.sign(scale))
        )
        return left, right

    def _with_signs(self, left: Tensor, signs: Tensor) -> Tensor | None:
        return None if self._is_convex else left * signs

    def _of_softmax(
        self, z: Tensor, y: Targets, weights: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        p = ops.softmax(z, axis=-1)
        label_sum, _ = self._labels(z, y, weights)
        chosen = ops.transpose(ops.take(p, index, axis=1))
        vectors = _basis(index, self.size, z)[:, None, :] - p[None]
        return chosen * label_sum[None], vectors

    def _labels(self, z: Tensor, y: Targets, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted targets of softmax cross-entropy: each sample's sum, and all of them."""
        weights = ops.cast(weights, z.dtype) * self._loss.losses.weights[0]
        if y.weights:
            weights = weights * ops.cast(ops.reshape(y.weights_of(0), (-1,)), z.dtype)
        loss, given = self._loss.losses.losses[0], y.labels_of(0)
        if function_of(loss) is keras.losses.categorical_crossentropy:
            smoothing = options_of(loss).get("label_smoothing", 0.0)
            targets = (1.0 - smoothing) * ops.cast(given, z.dtype) + smoothing / self.size
        else:
            labels = ops.cast(ops.reshape(given, (-1,)), "int32")
            targets = ops.one_hot(labels, self.size, dtype=z.dtype)
        targets = targets * weights[:, None]
        return ops.sum(targets, axis=-1), targets

    def _of_elements(
        self, z: Tensor, y: Targets, weights: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        diagonal = self._products(z, y, weights, ops.ones_like(z)[None])[0]
        basis = _basis(index, self.size, z)[:, None, :]
        vectors = ops.broadcast_to(basis, (index.shape[0], z.shape[0], self.size))
        return ops.transpose(ops.take(diagonal, index, axis=1)), vectors

    def _by_eigenvectors(
        self, z: Tensor, y: Targets, weights: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        basis = ops.eye(self.size, dtype=z.dtype)[:, None, :]
        directions = ops.broadcast_to(basis, (self.size, z.shape[0], self.size))
        hessian = ops.transpose(self._products(z, y, weights, directions), (1, 0, 2))
        values, vectors = ops.eigh((hessian + ops.transpose(hessian, (0, 2, 1))) / 2)
        chosen = ops.transpose(ops.take(vectors, index, axis=2), (2, 0, 1))
        return ops.transpose(ops.take(values, index, axis=1)), chosen

    def _products(self, z: Tensor, y: Targets, weights: Tensor, directions: Tensor) -> Tensor:
        """Hessian times each direction, all samples at once, shape ``(K, n, C)``."""

        def total(primals: list[Tensor]) -> tuple[Tensor, None]:
            return self._loss(y, self._outputs(primals[0]), weights), None

        def gradient(primals: list[Tensor]) -> tuple[Tensor, None]:
            value, _, pullback = self._autodiff.vjp(total, primals, twice=True)
            return pullback(ops.ones_like(value))[0], None

        _, _, pullback = self._autodiff.vjp(gradient, [z])
        return self._autodiff.each(pullback, directions)[0]

    def _outputs(self, z: Tensor) -> list[Tensor]:
        """Cut ``(n, C)`` into outputs and apply the activations that belong to the loss."""
        outputs, start = [], 0
        for head, shape in zip(self._heads, self._shapes, strict=True):
            stop = start + math.prod(shape)
            outputs.append(head.finish(ops.reshape(z[:, start:stop], (z.shape[0], *shape))))
            start = stop
        return outputs

    def _is_softmax_cross_entropy(self) -> bool:
        loss = self._loss.losses.losses[0]
        options = options_of(loss)
        wanted = keras.activations.softmax
        if options.get("from_logits", False):
            wanted = keras.activations.linear
        return (
            function_of(loss) in _CROSS_ENTROPIES
            and self._heads[0].activation is wanted
            and options.get("ignore_class") is None
            and options.get("axis", -1) == -1
        )

    def _has_no_negative_curvature(self) -> bool:
        """Return whether the loss is known to be convex in the network's outputs."""
        losses = self._loss.losses
        if any(weight < 0 for weight in losses.weights):
            return False
        functions = {function_of(each) for each in losses.losses if each is not None}
        straight = {head.activation for head in self._heads} <= set(_STRAIGHT_ACTIVATIONS)
        return functions <= set(_CROSS_ENTROPIES) or (straight and functions <= set(_CONVEX_LOSSES))

    def _is_elementwise(self) -> bool:
        losses = self._loss.losses.losses
        known = all(each is None or function_of(each) in _ELEMENTWISE_LOSSES for each in losses)
        return known and all(head.activation in _ELEMENTWISE_ACTIVATIONS for head in self._heads)


def _basis(index: Tensor, size: int, like: Tensor) -> Tensor:
    """Return unit vectors, shape ``(K, size)``."""
    return ops.cast(
        ops.equal(ops.arange(size)[None], ops.cast(index, "int32")[:, None]), like.dtype
    )
