"""Results of a run that another one of the same model and data can start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.training.strengths import TunedStrengths

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """Regularization strengths and weights that do not depend on a run's target.

    Parameters
    ----------
    fingerprint
        What it belongs to: see :func:`fabricfit.optimization.identity.fingerprint`.
    tuned
        The strengths that were chosen, and the weights that were trained with them.
    weights
        Weights of the highest level that was good, as they were trained; None if none was.
    metric
        The validation metric of that level.
    """

    fingerprint: Mapping[str, Any]
    tuned: TunedStrengths
    weights: list[np.ndarray] | None
    metric: float

    def check(self, other: Mapping[str, Any]) -> None:
        """Refuse to serve a run that is not of the same model, data and settings.

        Raises
        ------
        InvalidInputError
            Names what differs.
        """
        differing = [name for name, value in other.items() if self.fingerprint.get(name) != value]
        if differing:
            raise InvalidInputError(
                "reuse must be the result of a run of the same model, data and settings. It differs in: "
                f"{', '.join(differing)}. Start without it."
            )
