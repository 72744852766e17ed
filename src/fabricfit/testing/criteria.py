"""What a ranking criterion must keep to."""

from __future__ import annotations

import numpy as np

from fabricfit.choices.ranking import STATISTICS, Criterion, get_criterion, weight_loss
from fabricfit.errors import InvalidInputError

__all__ = ["check_criterion"]


def check_criterion(
    criterion: str | Criterion, *, shape: tuple[int, ...] = (6, 5), seed: int = 0
) -> None:
    """Check that a criterion gives every change of weights a loss that can be ranked and summed.

    Losses are finite, at least 0, one for each weight; no change loses nothing; each weight's loss depends on
    that weight alone, not on where it stands; the arrays that it is given are not changed.

    Parameters
    ----------
    criterion
        The criterion, or its name once registered with :func:`fabricfit.register_criterion`.
    shape
        Shape of the random kernel.
    seed
        Of the random weights and statistics.

    Raises
    ------
    AssertionError
        It does not; the message says what.
    """
    found = get_criterion(criterion)
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=shape)
    statistics = {name: rng.normal(size=shape) for name in STATISTICS}
    copies = {name: array.copy() for name, array in {"weights": kernel, **statistics}.items()}
    try:
        losses = weight_loss(kernel, found, statistics)(-kernel)
    except InvalidInputError as error:  # what a run refuses
        raise AssertionError(str(error)) from error
    for name, array in {"weights": kernel, **statistics}.items():
        assert (array == copies[name]).all(), f"criterion {found.name!r} changed its {name}."
    assert (losses >= 0).all(), (
        f"criterion {found.name!r} must return losses of at least 0. Received: {losses.min()}"
    )
    assert losses.any(), f"criterion {found.name!r} says that no weight loses anything."
    still = weight_loss(kernel, found, statistics)(np.zeros(shape))
    assert not still.any(), (
        f"criterion {found.name!r} must return 0 where no weight changes. Received: {still.max()}"
    )
    order = rng.permutation(shape[0])
    moved = {name: array[order] for name, array in statistics.items()}
    again = weight_loss(kernel[order], found, moved)(-kernel[order])
    assert np.allclose(again, losses[order], rtol=1e-6), (
        f"criterion {found.name!r} gives weights other losses when they stand elsewhere."
    )
