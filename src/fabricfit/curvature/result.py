"""The diagonal of a Hessian, with the method and the error of each kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["HessianDiagonal"]


@dataclass(frozen=True)
class HessianDiagonal:
    """The diagonal of a Hessian, with the method and the relative error of each kernel.

    Parameters
    ----------
    values
        Layer key -> ∂²L/∂w² for each weight, float32, of the kernel's shape.
    methods
        Layer key -> ``'gauss-newton'``, ``'exact'`` or ``'estimate'``.
    errors
        Layer key -> relative error, the root mean square of the error over that of the diagonal,
        both over the kernel's weights. 0 where the method is exact (up to rounding); one standard
        error for an estimate or for Gauss–Newton along a few combinations of outputs (there with that of
        the choice of samples), ``inf`` where its noise hides the diagonal; ``nan`` where
        Gauss–Newton was requested and is an approximation, whose error is not measured.
    """

    values: Mapping[str, np.ndarray]
    methods: Mapping[str, str]
    errors: Mapping[str, float]

    def summary(self) -> str:
        """Return the kernels of each method, with the errors that are not 0, in one line."""
        parts = []
        for method in dict.fromkeys(self.methods.values()):
            keys = [key for key, used in self.methods.items() if used == method]
            parts.append(f"{method}: {', '.join(self._describe(key) for key in keys)}")
        return "; ".join(parts) or "no kernels"

    def _describe(self, key: str) -> str:
        error = self.errors[key]
        return key if error == 0 else f"{key} ({_format_error(error)})"


def _format_error(error: float) -> str:
    if np.isnan(error):
        return "error not measured"
    return "lost in noise" if np.isinf(error) else f"±{100 * error:.1f} %"
