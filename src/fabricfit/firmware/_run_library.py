"""Run a compiled hls4ml project in a separate process; started as a script, with NumPy alone.

An assertion of the generated C++ ends the process that runs it. Arguments: a JSON file that describes
the project, a NumPy archive with the inputs, and the archive to write.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE_IS_DONE = "\x1esample"
"""Printed for every sample that has been computed."""


class _Trace(ctypes.Structure):
    """Results of one layer, as the project's bridge returns them."""

    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.c_void_p))


def main(described: str, given: str, written: str) -> None:
    """Run every sample and write the results of every traced layer, and the outputs."""
    project = json.loads(Path(described).read_text())
    with np.load(given) as archive:
        inputs = [np.ascontiguousarray(archive[name], np.float64) for name in archive.files]
    library = ctypes.CDLL(project["library"])
    collect = library.collect_trace_output
    collect.argtypes, collect.restype = [ctypes.POINTER(_Trace)], None
    if project["layers"]:
        library.allocate_trace_storage.argtypes = [ctypes.c_size_t]
        library.allocate_trace_storage(ctypes.sizeof(ctypes.c_double))
    layers: dict[str, list[np.ndarray]] = {name: [] for name in project["layers"]}
    outputs: list[list[np.ndarray]] = [[] for _ in project["outputs"]]
    traces = (_Trace * len(layers))()
    for sample in zip(*inputs, strict=True):
        results = [np.zeros(size) for size in project["outputs"]]
        _call(library[project["function"]], [*sample, *results])
        if layers:
            collect(traces)
        for trace in traces:
            name = trace.name.decode()
            values = ctypes.cast(trace.data, ctypes.POINTER(ctypes.c_double))
            shape = tuple(project["layers"][name])
            layers[name].append(np.ctypeslib.as_array(values, shape).copy())
        for held, result in zip(outputs, results, strict=True):
            held.append(result)
        sys.stdout.write(f"\n{SAMPLE_IS_DONE}\n")
        sys.stdout.flush()
    found: dict[str, Any] = {f"layer/{name}": np.array(values) for name, values in layers.items()}
    found |= {f"output/{i}": np.array(values) for i, values in enumerate(outputs)}
    np.savez(written, **found)


def _call(function: Any, arrays: list[np.ndarray]) -> None:
    pointer = ctypes.POINTER(ctypes.c_double)
    function(*(np.ascontiguousarray(array).ctypes.data_as(pointer) for array in arrays))


if __name__ == "__main__":
    main(*sys.argv[1:])
