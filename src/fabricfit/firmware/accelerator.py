"""The AXI wrapper of hls4ml's VivadoAccelerator: what it makes of a network's inputs and outputs.

The wrapper takes numbers as ``float`` (or ``double``), converts them to the type of the network's input, and
its results back. So numbers finer than a ``float`` are rounded on their way: what is verified bit for bit is
the network on the inputs that the wrapper passes on, and that the wrapper's outputs are its results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, spell, unknown_name
from fabricfit.firmware.simulation import Results
from fabricfit.hls4ml.backends import read_backend, read_board

__all__ = ["Wrapper", "project_options", "read_wrapper"]

_ACCELERATOR = "VivadoAccelerator"

_FLOATS = {"float": np.float32, "double": np.float64}
_BUILT = {"Interface": "axi_stream", "Driver": "python"}
"""What hls4ml 1.3 has files for: it stops at other interfaces and drivers when it writes the project."""


@dataclass(frozen=True)
class Wrapper:
    """Number formats of a wrapper.

    Parameters
    ----------
    given, returned
        What the wrapper takes and gives: ``'float'`` or ``'double'``, as which numbers pass where there is no
        wrapper.
    """

    given: str = "double"
    returned: str = "double"

    def pass_inputs(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return inputs as the network gets them."""
        return [_convert(array, self.given) for array in arrays]

    def unwrap(self, hls_model: Any, results: Results) -> Results:
        """Return results of which the outputs are those of the network.

        Outputs that are not the network's results in the wrapper's type stay as they are: they differ from
        what is expected then.
        """
        if self.returned == "double":
            return results
        outputs = []
        for name, observed in zip(hls_model.outputs, results.outputs, strict=True):
            node = next(node.name for node in hls_model.get_layers() if name in node.outputs)
            inside = results.layers.get(node, observed).reshape(observed.shape)
            agrees = np.array_equal(_convert(inside, self.returned), observed)
            outputs.append(inside if agrees else observed)
        return replace(results, outputs=outputs)


def read_wrapper(hls_model: Any) -> Wrapper:
    """Return the wrapper of a converted model; one that changes nothing for other backends.

    Parameters
    ----------
    hls_model
        What hls4ml made of a model.
    """
    config = hls_model.config
    if config.backend.name != _ACCELERATOR:
        return Wrapper()
    precision = (config.config.get("AcceleratorConfig") or {}).get("Precision") or {}
    return Wrapper(str(precision.get("Input", "float")), str(precision.get("Output", "float")))


def project_options(
    backend: str, project: Mapping[str, Any], part: str | None, model: Any
) -> dict[str, Any]:
    """Return what of a project's configuration hls4ml's converter must be told, beside that of the layers.

    Parameters
    ----------
    backend
        Name of the backend, as hls4ml spells it.
    project
        The configuration: its clock, its part and, for an accelerator, its ``'AcceleratorConfig'``.
    part
        The part that is asked for, if any; it counts before that of the configuration.
    model
        The Keras model.

    Raises
    ------
    InvalidInputError
        hls4ml has no such board, interface, driver or type of the wrapper, or the model has several inputs or
        outputs.
    """
    clock = project.get("ClockPeriod")
    options = {} if clock is None else {"clock_period": clock}
    if backend != _ACCELERATOR:
        same = read_backend(project).name == backend or not project.get("Backend")
        part = part or (project.get("Part") if same else None)
        return options if part is None else options | {"part": str(part)}
    return options | _accelerator_options(project, part, model)


def _accelerator_options(
    project: Mapping[str, Any], part: str | None, model: Any
) -> dict[str, Any]:
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) > 1:
            raise InvalidInputError(
                "hls4ml's VivadoAccelerator builds models with one input and one output. Received: a model "
                f"with {len(tensors)} {what}. Concatenate them, or use the backend Vivado."
            )
    board = read_board(project, part)
    section = project.get("AcceleratorConfig") or {}
    for key, built in _BUILT.items():
        if section.get(key, built) != built:
            raise unknown_name(f"config['AcceleratorConfig'][{key!r}]", section[key], (built,))
    return {
        "board": board.name,
        "part": board.part,
        "input_type": _read_type(section, "Input"),
        "output_type": _read_type(section, "Output"),
    }


def _read_type(section: Mapping[str, Any], end: str) -> str:
    kind = (section.get("Precision") or {}).get(end) or "float"
    if kind not in _FLOATS:
        raise InvalidInputError(
            f"config['AcceleratorConfig']['Precision'][{end!r}] must be 'float' or 'double': hls4ml 1.3 "
            f"writes code for other types of the AXI wrapper that does not compile. Received: {spell(kind)}"
        )
    return str(kind)


def _convert(array: np.ndarray, kind: str) -> np.ndarray:
    return array.astype(_FLOATS[kind], copy=False).astype(np.float64, copy=False)
