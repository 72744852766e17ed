"""What ``verify`` is given: checked before anything is converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.checks import file_path, mapping, whole_number
from fabricfit.errors import InvalidInputError, RunDirectoryError, spell
from fabricfit.losses import check_metrics
from fabricfit.network.reader import Network
from fabricfit.samples import Door, inputs_of, to_numpy
from fabricfit.samples.numbers import check_array

__all__ = ["check_expected", "check_place", "check_stated", "check_targets", "prepare_inputs"]

_RANDOM_NUMBERS = 2**28
"""Most random numbers that are drawn in the place of data: 2 GiB."""


def check_expected(expected: Any) -> dict[str, int] | None:
    """Return the multipliers that layers must have, by name; None where nothing is said of them.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        It is no dictionary of whole numbers.
    """
    if expected is None:
        return None
    given: Mapping[Any, Any] = mapping("expected", expected)
    return {str(key): whole_number(f"expected[{key!r}]", each, 0) for key, each in given.items()}


def check_place(output_dir: Any) -> Path | None:
    """Return the folder of the project; None for a temporary one.

    Raises
    ------
    InvalidTypeError, InvalidInputError, RunDirectoryError
        No folder can be called so, or a file is.
    """
    if output_dir is None:
        return None
    path = file_path("output_dir", output_dir)
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"output_dir must name a folder. Received a file: {path}")
    return path


def check_stated(config: Mapping[str, Any]) -> None:
    """Refuse an opened configuration that says nothing of how the model is built.

    Raises
    ------
    InvalidInputError
        It has no section of the model, nor of a layer.
    """
    inner = config.get("HLSConfig", config)
    if not any(inner.get(section) for section in ("Model", "LayerName", "LayerType")):
        raise InvalidInputError(
            "hls_config must say how hls4ml builds the model, under 'Model', 'LayerName' or 'LayerType'; "
            f"hls4ml.utils.config_from_keras_model makes one. Received: {spell(config)}"
        )


def check_targets(
    network: Network, arrays: Sequence[np.ndarray], X: Any, y: Any, metric: Any
) -> None:
    """Refuse targets that are not as many as samples, and a metric that is none.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        Something is; or there are targets of no samples.
    """
    if X is None:
        raise InvalidInputError("y holds the targets of X. Received: y without X")
    if metric is not None:
        check_metrics(metric)
    targets = Door(network.ends)((X, y))[1]
    for each in targets.labels:
        check_array(to_numpy(each), "y")
    lengths = [len(each) for each in targets.labels]
    if any(length != len(arrays[0]) for length in lengths):
        raise InvalidInputError(
            f"y must hold {len(arrays[0])} targets, as many as X has samples, for each of the model's "
            f"outputs. Received: {lengths}"
        )


def prepare_inputs(network: Network, X: Any, samples: int) -> Sequence[np.ndarray]:
    """Return one float64 array for each input of the model; random numbers where there is no data."""
    shapes = network.ends.inputs.shapes
    if X is not None:
        return [
            np.ascontiguousarray(array, np.float64) for array in inputs_of(network.ends, X, "X")
        ]
    sizes = [(samples, *(n or 1 for n in shape)) for shape in shapes]
    if sum(int(np.prod(size, dtype=object)) for size in sizes) > _RANDOM_NUMBERS:
        raise InvalidInputError(
            f"samples must be fewer where no data is given, or pass them as X. Received: samples={samples}"
        )
    rng = np.random.default_rng(0)
    return [rng.normal(size=size) for size in sizes]
