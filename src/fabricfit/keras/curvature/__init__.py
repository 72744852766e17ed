"""Gradients and the true diagonal of the Hessian, on any backend and in bounded memory.

Oracle ranking needs ∂L/∂w, saliency needs ∂²L/∂w², both of the *mean* loss L over a data set and
for every weight of every kernel. Data is streamed in batches; sums are kept in double precision.

There are two ways to the diagonal. *Gauss–Newton* is exact where the network, up to the activation
before the loss, is piecewise linear in any one weight, and takes one backward pass for each output.
*Exact* is true for any smooth network and takes Hessian-vector products: one for each unit of a
Dense layer, up to one for each weight otherwise. :func:`hessian_method` tells which a model needs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fabricfit.errors import unknown_name

if TYPE_CHECKING:
    import keras

__all__ = [
    "get_model_gradients",
    "get_model_hessians",
    "hessian_diagonal",
    "hessian_method",
    "loss_gradients",
]

logger = logging.getLogger(__name__)

_METHODS = ("auto", "gauss-newton", "exact")


def get_model_gradients(
    model: keras.Model, loss_fn: Any, X: Any, y: Any, *, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """Return the gradient of the mean loss in every kernel.

    Parameters
    ----------
    model
        A built model. It is run at inference (no dropout, moving statistics) and comes back as it
        was.
    loss_fn
        A ``keras.losses.Loss``, the name of a loss, or a function ``(y_true, y_pred)`` that returns
        a value for each sample or the mean over a batch. The mean over samples is what is
        differentiated, whatever reduction the loss declares (``'sum'`` included). With several
        outputs the losses add up. Penalties of regularizers are no part of it.
    X
        Inputs of shape ``(samples, …)``; a list, tuple or dict of such arrays for several inputs.
    y
        Targets, as the loss takes them; a list, tuple or dict of arrays for several outputs.
    batch_size
        Samples in a batch; by default as many as fit a memory budget of about 128 MB.

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
    from fabricfit.keras.reading import kernels_of

    return loss_gradients(model, kernels_of(model), loss_fn, X, y, batch_size=batch_size)


def get_model_hessians(
    model: keras.Model,
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    method: str = "auto",
) -> dict[str, np.ndarray]:
    """Return the diagonal of the Hessian of the mean loss in every kernel.

    Parameters
    ----------
    model, loss_fn, X, y, batch_size
        As for :func:`get_model_gradients`.
    method
        ``'auto'`` takes Gauss–Newton where that is exact, see :func:`hessian_method`, else
        ``'exact'``. ``'gauss-newton'`` on a model with smooth hidden activations leaves out their
        curvature: an approximation, much faster than the exact diagonal. Kernels that its
        closed form does not cover (a layer called twice, an unknown layer type) take the exact way.

    Returns
    -------
    dict
        Layer key -> ∂²L/∂w² for each weight, float32, of the kernel's shape.

    Raises
    ------
    InvalidInputError
        As for :func:`get_model_gradients`, or ``method`` is unknown.
    InvalidTypeError
        As for :func:`get_model_gradients`.

    Notes
    -----
    At a kink (a ReLU's zero, a tie in a max-pooling) the second derivative is taken as that of the
    linear piece that the backend's gradient chooses.

    References
    ----------
    Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 2 (1989) 598.

    F. Dangel, F. Kunstner, P. Hennig, "BackPACK: packing more into backprop", ICLR 2020.
    """
    from fabricfit.keras.reading import kernels_of

    kernels = kernels_of(model)
    return hessian_diagonal(model, kernels, loss_fn, X, y, batch_size=batch_size, method=method)


def hessian_method(model: keras.Model) -> str:
    """Tell which way ``method='auto'`` takes for a model.

    Parameters
    ----------
    model
        Any Keras model.

    Returns
    -------
    str
        ``'gauss-newton'``, or ``'exact'`` followed by the reason:
        ``"exact: layer 'dense_1' has the activation 'tanh'"``. A layer type or activation that is
        not known to be piecewise linear counts as one that is not.
    """
    from fabricfit.keras.curvature.graph import why_not_piecewise_linear

    reason = why_not_piecewise_linear(model)
    return "gauss-newton" if reason is None else f"exact: {reason}"


def loss_gradients(
    model: keras.Model,
    variables: Mapping[str, keras.Variable],
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    batch_size: int | None = None,
) -> dict[str, np.ndarray]:
    """Do the work of :func:`get_model_gradients` for a chosen mapping of key -> kernel variable."""
    from fabricfit.keras.curvature.gradients import kernel_gradients
    from fabricfit.keras.curvature.problem import Problem

    return kernel_gradients(Problem(model, variables, loss_fn, X, y, batch_size))


def hessian_diagonal(
    model: keras.Model,
    variables: Mapping[str, keras.Variable],
    loss_fn: Any,
    X: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    method: str = "auto",
) -> dict[str, np.ndarray]:
    """Do the work of :func:`get_model_hessians` for a chosen mapping of key -> kernel variable."""
    from fabricfit.keras.curvature.exact import exact_diagonal, product_count
    from fabricfit.keras.curvature.gauss_newton import gauss_newton_diagonal
    from fabricfit.keras.curvature.problem import Problem

    if method not in _METHODS:
        raise unknown_name("method", method, _METHODS)
    problem = Problem(model, variables, loss_fn, X, y, batch_size)
    fitting = hessian_method(model)
    logger.info("Hessian diagonal of %r: method=%r, fitting is %s", model.name, method, fitting)
    found: dict[str, np.ndarray] = {}
    if method == "gauss-newton" or (method == "auto" and fitting == "gauss-newton"):
        if fitting != "gauss-newton":
            logger.warning("the Gauss-Newton diagonal is an approximation here (%s)", fitting)
        found = gauss_newton_diagonal(problem)
    missing = [key for key in problem.kernels if key not in found]
    if missing:
        products = sum(product_count(problem, key) for key in missing)
        logger.info("%d Hessian-vector products a batch, for %s", products, ", ".join(missing))
    found.update(exact_diagonal(problem, missing))
    return problem.finished(found)
