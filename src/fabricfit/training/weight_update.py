r"""Optimal-brain-surgeon update of the weights that are kept, layer by layer.

When weights of a layer are set to values they do not have, the others can be moved so that the layer's
results change least. For one result with weights *w*, over inputs *X* of calibration data,

.. math::

    \min_{\Delta_S} \lVert X (\Delta_S + \Delta_P) \rVert^2
    \quad\Rightarrow\quad \Delta_S = -H_{SS}^{-1} H_{SP} \Delta_P, \qquad H = X^\top X

where *P* are the weights whose change is given and *S* those that are free. A bias is free, too.

References
----------
B. Hassibi and D. Stork, "Second order derivatives for network pruning: optimal brain surgeon", NIPS 1992.
X. Dong et al., "Learning to prune deep neural networks via layer-wise optimal brain surgeon", NIPS 2017,
arXiv:1705.07565. E. Frantar and D. Alistarh, "Optimal brain compression", NeurIPS 2022, arXiv:2208.11580.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fabricfit.choices import Treatment
from fabricfit.curvature.hooks import Hook, run_with_hooks
from fabricfit.deprecation import serve_old_names
from fabricfit.layers import Kernel, family_of
from fabricfit.layers.matrix_form import MatrixForm
from fabricfit.network.reader import Network
from fabricfit.samples import Data, Dataset, tensors

__all__ = ["OptimalBrainSurgeonUpdate", "surviving_weights"]

logger = logging.getLogger(__name__)

__getattr__ = serve_old_names(__name__, {"Compensation": "OptimalBrainSurgeonUpdate"})

_DAMPING = 1e-2
"""Added to the diagonal of H, in parts of its mean: inputs that are always 0 would leave it singular."""

_MOST_INPUTS = 2048
"""Inputs of a result up to which its system of equations is solved."""


class OptimalBrainSurgeonUpdate:
    """Update of the weights that are kept, when others are about to be pruned.

    Dense layers, convolutions and sums over units are updated that the model calls once; other layers,
    and results of more than 2,048 inputs, are not changed.

    Parameters
    ----------
    network
        What was read of the model; its weights are changed.
    data
        Samples.
    samples
        At most how many of them; 0 for none, so that nothing is done.
    batch_size
        Samples in a batch.
    """

    def __init__(self, network: Network, data: Dataset, samples: int, batch_size: int) -> None:
        self._model = network.model
        self._batch_size = batch_size
        self._data: Data | None = data.arrays(samples).head(samples) if samples else None
        self._kernels = {
            name: kernel
            for name, kernel in network.grouped_kernels.items()
            if samples and _can_be_updated(kernel, network)
        }

    def __call__(self, treatments: Mapping[str, Treatment]) -> None:
        """Update the weights that are kept, before the treatments are applied to the others.

        Parameters
        ----------
        treatments
            Layer -> treatment of its kernel.
        """
        chosen = {
            name: kernel
            for name, kernel in self._kernels.items()
            if name in treatments and (treatments[name].mask == 0).any()
        }
        if not chosen or self._data is None:
            return
        moments = self._compute_moments(chosen)
        for name, kernel in chosen.items():
            self._move_weights(kernel, treatments[name], moments[name])

    def _compute_moments(self, kernels: Mapping[str, Kernel]) -> dict[str, np.ndarray]:
        """Return ``XᵀX`` of each kernel's inputs, a one behind them, shape ``(g, i + 1, i + 1)``."""
        assert self._data is not None
        hooks = {name: _make_hook(kernel) for name, kernel in kernels.items()}
        variables = list(self._model.variables)
        values = [variable.value for variable in variables]
        sums: dict[str, np.ndarray] = {}
        for X, _ in self._data.batches(self._batch_size):
            found = run_with_hooks(self._model, variables, values, tensors(X), hooks, {})
            for name, hook in hooks.items():
                rows = np.asarray(
                    keras.ops.convert_to_numpy(hook.form.rows(hook.layer, found.inputs[name])),
                    np.float64,
                )
                rows = rows.reshape(-1, *rows.shape[2:])
                rows = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], axis=-1)
                part = np.einsum("ngi,ngj->gij", rows, rows, optimize=True)
                sums[name] = sums.get(name, 0) + part
        return sums

    def _move_weights(self, kernel: Kernel, treatment: Treatment, moments: np.ndarray) -> None:
        order = _Order.of(kernel, moments)
        weights = np.asarray(keras.ops.convert_to_numpy(kernel.variable), np.float64)
        treated = np.asarray(treatment.apply(weights), np.float64)
        free = np.asarray((treatment.mask != 0) & (treatment.cluster == 0))
        before, after, moves = (order.matrix(each) for each in (weights, treated, free))
        moved = after.copy()
        shift = np.zeros(after.shape[1:])
        for group in range(after.shape[1]):
            change = after[:, group] - before[:, group]
            moved[:, group], shift[group] = surviving_weights(
                moments[group], after[:, group], change, moves[:, group], kernel.bias is not None
            )
        result = np.where(free, order.kernel(moved), weights)
        kernel.variable.assign(result.astype(kernel.variable.dtype))
        if kernel.bias is not None:
            bias = np.asarray(keras.ops.convert_to_numpy(kernel.bias), np.float64)
            spread = shift.reshape(bias.shape)
            kernel.bias.assign((bias + spread).astype(kernel.bias.dtype))


def surviving_weights(
    moments: np.ndarray, weights: np.ndarray, change: np.ndarray, free: np.ndarray, bias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Move free weights so that results change least by a given change of the others.

    Parameters
    ----------
    moments
        ``XᵀX`` of the inputs with a one behind them, shape ``(i + 1, i + 1)``.
    weights, change
        Weights after the change, and the change, shape ``(i, f)``; 0 where a weight is free.
    free
        Which weights may move, shape ``(i, f)``.
    bias
        Whether results have biases, which are free. Those of results without a free weight are not changed.

    Returns
    -------
    tuple
        The weights, shape ``(i, f)``, and the change of the biases, shape ``(f,)``.
    """
    moved, shift = weights.copy(), np.zeros(weights.shape[1])
    damped = moments + _DAMPING * np.mean(np.diag(moments)) * np.eye(len(moments))
    pulls = moments[:, :-1] @ change
    patterns, which = np.unique(free, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        results = np.flatnonzero(which.reshape(-1) == number)
        if not pattern.any() or not change[:, results].any():
            continue
        kept = np.append(pattern, bias)
        factor = cho_factor(damped[np.ix_(kept, kept)])
        delta = np.zeros((len(kept), results.size))
        delta[kept] = -cho_solve(factor, pulls[np.ix_(kept, results)])
        moved[:, results] += delta[:-1]
        shift[results] = delta[-1]
    return moved, shift


@dataclass(frozen=True)
class _Order:
    """Where each weight of a kernel is in its matrix form ``(i, g, f)``."""

    places: np.ndarray
    shape: tuple[int, int, int]
    of_kernel: tuple[int, ...]

    @classmethod
    def of(cls, kernel: Kernel, moments: np.ndarray) -> _Order:
        groups, inputs = moments.shape[0], moments.shape[1] - 1
        size = int(np.prod(kernel.shape))
        shape = (inputs, groups, size // (groups * inputs))
        hook = _make_hook(kernel)
        places = hook.form.kernel(hook.layer, np.arange(size).reshape(shape))
        return cls(places.reshape(-1), shape, kernel.shape)

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        flat = np.empty(kernel.size, kernel.dtype)
        flat[self.places] = kernel.reshape(-1)
        return flat.reshape(self.shape)

    def kernel(self, matrix: np.ndarray) -> np.ndarray:
        kernel: np.ndarray = matrix.reshape(-1)[self.places].reshape(self.of_kernel)
        return kernel


def _make_hook(kernel: Kernel) -> Hook:
    form = _find_form(kernel)
    assert form is not None, "kernels without a form are left out"
    return Hook(kernel.owner, form)


def _find_form(kernel: Kernel) -> MatrixForm | None:
    family = family_of(kernel.owner)
    return family.matrix_form(kernel.owner) if family is not None else None


def _can_be_updated(kernel: Kernel, network: Network) -> bool:
    called = network.graph.times_called[id(kernel.owner)]
    if kernel.part or kernel.quantizer is not None or called != 1:
        return False
    form = _find_form(kernel)
    inputs = int(np.prod(kernel.shape[:-1]))
    if form is not None and inputs > _MOST_INPUTS:
        logger.info(
            "%r has %d inputs: its weights get no optimal-brain-surgeon update",
            kernel.owner.name,
            inputs,
        )
    return form is not None and inputs <= _MOST_INPUTS
