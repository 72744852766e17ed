"""Gradients and the true diagonal of the Hessian, on any backend and in bounded memory.

Oracle ranking needs ∂L/∂w, saliency needs ∂²L/∂w², both of the *mean* loss L over a data set and
for every weight of every kernel. Data is streamed in batches; sums are kept in double precision.

There are three methods for the diagonal. *Gauss–Newton* is exact where the network, up to the
activation before the loss, is piecewise linear in any one weight, and needs one backward pass for
each output. *Exact* holds for any smooth network and needs Hessian-vector products: one for each
unit of a Dense layer, up to one for each weight otherwise. *Estimate* uses a few such products,
along random signs that differ from sample to sample, for the part that Gauss–Newton omits: unbiased,
with a stated error. :func:`hessian_method` says which method a model needs,
:class:`HessianDiagonal` which one each kernel got.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fabricfit.curvature.result import HessianDiagonal

if TYPE_CHECKING:
    import keras

    from fabricfit.curvature.derivatives import Curvature

__all__ = [
    "Curvature",
    "HessianDiagonal",
    "get_model_gradients",
    "get_model_hessians",
    "hessian_diagonal",
    "hessian_method",
    "loss_gradients",
    "model_hessian",
]


def __getattr__(name: str) -> Any:
    if name == "Curvature":
        from fabricfit.curvature.derivatives import Curvature

        return Curvature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_model_gradients(
    model: keras.Model,
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    loss_weights: Any = None,
    batch_size: int | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the gradient of the mean loss in every kernel.

    Parameters
    ----------
    model
        A built model, which is not changed. It is run at inference (no dropout, moving statistics).
    loss_fn
        A ``keras.losses.Loss``, the name of a loss, or a function ``(y_true, y_pred)`` that returns
        a value for each sample or the mean over a batch; for several outputs also a dict by output name or a
        list, see :class:`fabricfit.losses.ModelLoss`. The mean over samples is what is
        differentiated, whatever reduction the loss declares (``'sum'`` included). With several
        outputs the losses add up. Penalties of regularizers are no part of it.
    X
        Inputs of shape ``(samples, …)``; a list, a tuple, or a dict by the names of inputs for several.
    y
        Targets, as the loss expects them; a list, a tuple, or a dict by the names of outputs for several.
    sample_weight
        Weights of the samples, at least 0: of shape ``(samples,)`` for all outputs, or some for each
        output, as ``y``. ``None`` for 1.
    loss_weights
        What the losses of outputs are multiplied by: a dict by output name, a list, or a number for a
        single output. ``None`` for 1.
    batch_size
        Samples in a batch; by default as many as fit a memory budget of about 128 MB.
    samples
        Largest number of samples, to bound the cost: of a larger data set as many are drawn, without
        replacement, and the loss is their mean. ``None`` for all.
    seed
        Seed of that draw.

    Returns
    -------
    dict
        Layer key -> ∂L/∂w, float32, of the kernel's shape. Layers without a kernel are absent.

    Raises
    ------
    InvalidInputError
        There is no data, lengths differ, a value is not finite, or the loss is unknown.
    InvalidTypeError
        The data or the loss is of a kind that cannot be used.
    """
    from fabricfit.curvature.derivatives import Curvature

    curvature = Curvature(model, None, loss_fn, batch_size, loss_weights=loss_weights)
    return curvature.gradients(X, y, sample_weight, samples=samples, seed=seed)


def get_model_hessians(
    model: keras.Model,
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    loss_weights: Any = None,
    batch_size: int | None = None,
    method: str = "auto",
    samples: int | None = None,
    passes: int | None = None,
    probes: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the values of :func:`model_hessian` alone.

    Parameters
    ----------
    model, loss_fn, X, y, sample_weight, loss_weights, batch_size, method, samples, passes, probes, seed
        As for :func:`model_hessian`. The methods of the kernels, and the errors of estimates, are
        logged.

    Returns
    -------
    dict
        Layer key -> ∂²L/∂w² for each weight, float32, of the kernel's shape.

    Raises
    ------
    InvalidInputError
        As for :func:`model_hessian`.
    InvalidTypeError
        As for :func:`model_hessian`.
    """
    found = model_hessian(
        model,
        loss_fn,
        X,
        y,
        sample_weight=sample_weight,
        loss_weights=loss_weights,
        batch_size=batch_size,
        method=method,
        samples=samples,
        passes=passes,
        probes=probes,
        seed=seed,
    )
    return dict(found.values)


def model_hessian(
    model: keras.Model,
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    loss_weights: Any = None,
    batch_size: int | None = None,
    method: str = "auto",
    samples: int | None = None,
    passes: int | None = None,
    probes: int | None = None,
    seed: int = 0,
) -> HessianDiagonal:
    """Return the diagonal of the Hessian of the mean loss in every kernel, and the method of each.

    For repeated evaluation, as weights change, keep a :class:`Curvature`: it compiles once.

    Parameters
    ----------
    model, loss_fn, X, y, sample_weight, loss_weights, batch_size, samples
        As for :func:`get_model_gradients`.
    method
        ``'auto'`` uses, kernel by kernel, Gauss–Newton where that is exact, see
        :func:`hessian_method`; else ``'exact'`` where Hessian-vector products times samples times
        the multiplications of a forward pass are at most
        :data:`~fabricfit.curvature.derivatives.EXACT_WORK`; else ``'estimate'``. Shapes
        decide, not measured time.

        ``'estimate'`` adds random probes of the rest to Gauss–Newton. It still uses Gauss–Newton
        alone where that is exact, and the exact method where that costs no more than probes.

        ``'gauss-newton'`` on a model with smooth hidden activations omits their curvature: fast, but
        easily wrong by half of the diagonal. Kernels that its closed form does not
        cover (a layer called twice, an unknown layer type) are treated as for ``'auto'``.
    passes
        Backward passes of Gauss–Newton for each sample. ``None`` for one for each output of the
        network, which is exact. Fewer are along random combinations of the outputs: unbiased, and the
        cheaper the more outputs there are.
    probes
        Products along random signs for each sample, 2 or more, for kernels that are estimated: the
        error falls with the root of samples times probes. ``None`` for 32768 / samples of them, or
        in kernels that Gauss–Newton does not cover for 262144 / samples; at least 2.
    seed
        Seed of the draw of samples and of the signs: the same seed gives the same estimate.

    Returns
    -------
    HessianDiagonal
        Values, methods and relative errors by layer key. Errors are those of the method on the samples
        that were used; with fewer ``passes`` than outputs also those of the choice of samples.

    Raises
    ------
    InvalidInputError
        As for :func:`get_model_gradients`, or ``method`` is unknown, or ``probes`` is too small.
    InvalidTypeError
        As for :func:`get_model_gradients`.

    Notes
    -----
    At a kink (a ReLU's zero, a tie in a max-pooling) the second derivative is that of the linear piece
    that the backend's gradient chooses.

    References
    ----------
    Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 2 (1989) 598.

    F. Dangel, F. Kunstner, P. Hennig, "BackPACK: packing more into backprop", ICLR 2020.
    """
    from fabricfit.curvature.derivatives import Curvature

    curvature = Curvature(model, None, loss_fn, batch_size, loss_weights=loss_weights)
    return curvature.hessians(
        X,
        y,
        sample_weight,
        method=method,
        samples=samples,
        passes=passes,
        probes=probes,
        seed=seed,
    )


def hessian_method(model: keras.Model) -> str:
    """Return whether the Gauss–Newton diagonal of a model is that of its Hessian, and if not, why.

    Parameters
    ----------
    model
        Any Keras model.

    Returns
    -------
    str
        ``'gauss-newton'``, or ``'exact'`` followed by the reason:
        ``"exact: layer 'dense_1' has the activation 'tanh'"``. A layer type or activation that is
        not known to be piecewise linear counts as one that is not. Whether kernels of such a model
        use the exact method, or an estimate because that costs too much, depends on the data too:
        :func:`model_hessian` reports it.
    """
    from fabricfit.curvature.linearity import why_not_piecewise_linear
    from fabricfit.network.reader import read_if_possible

    reason = why_not_piecewise_linear(read_if_possible(model))
    return "gauss-newton" if reason is None else f"exact: {reason}"


def loss_gradients(
    model: keras.Model,
    variables: Mapping[str, keras.Variable],
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
) -> dict[str, np.ndarray]:
    """Return the gradients of the mean loss in chosen kernels, a mapping of key -> variable."""
    from fabricfit.curvature.derivatives import Curvature

    return Curvature(model, variables, loss_fn, batch_size).gradients(X, y, sample_weight)


def hessian_diagonal(
    model: keras.Model,
    variables: Mapping[str, keras.Variable],
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    method: str = "auto",
) -> dict[str, np.ndarray]:
    """Return the Hessian's diagonal in chosen kernels, a mapping of key -> variable."""
    from fabricfit.curvature.derivatives import Curvature

    curvature = Curvature(model, variables, loss_fn, batch_size)
    return dict(curvature.hessians(X, y, sample_weight, method=method).values)
