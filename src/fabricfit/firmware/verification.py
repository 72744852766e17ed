"""Verification of the generated code: its multipliers are counted, its results compared bit for bit.

hls4ml converts the model. The multipliers in its C++ are counted and compared with the number that the
model's weights need; the C++ is compiled, run on samples and compared, layer by layer, with an independent
emulation in integer arithmetic.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.checks import whole_number
from fabricfit.description.strategies import canonical_strategy, check_io_type
from fabricfit.errors import InvalidInputError, InvalidTypeError, unknown_name
from fabricfit.firmware.counting import count_multiplications
from fabricfit.firmware.emulation import Emulation, emulate_network
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.firmware.simulation import (
    CapturedOutput,
    Results,
    compile_project,
    convert,
    require_compiler,
    run_project,
)
from fabricfit.firmware.verification_result import LayerVerification, Mismatch, Verification
from fabricfit.hardware.devices import family_of_part
from fabricfit.hardware.dsp import latency_dsp
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.sections import find_key
from fabricfit.network.configuration import open_configuration
from fabricfit.network.estimation import estimate
from fabricfit.network.reader import Network, as_network
from fabricfit.synthesis.comparison import Comparison, compare
from fabricfit.synthesis.tools import find_tool, synthesize

__all__ = ["LayerVerification", "Mismatch", "Verification", "expected_multipliers", "verify"]

BACKENDS = ("Vitis", "Vivado")
"""Backends whose arithmetic the emulation follows."""


def verify(
    model: Any,
    hls_config: ConfigurationLike,
    X: Any = None,
    *,
    backend: str = "Vitis",
    io_type: str | None = None,
    part: str | None = None,
    output_dir: str | Path | None = None,
    samples: int = 100,
    compile: bool = True,
    expected: Mapping[str, int] | None = None,
    synthesis: bool = False,
) -> Verification:
    """Convert a model with hls4ml, count the multipliers of its code, and compare its results bit for bit.

    Parameters
    ----------
    model
        A Keras model. hls4ml leaves out only weights that are exactly zero.
    hls_config
        hls4ml's configuration, or a file of it, such as the ``hls4ml_config.yml`` of a project.
    X
        Inputs of shape ``(n, *input_shape)``, preferably real data; a list of arrays for several inputs.
        By default, normally distributed random numbers.
    backend
        ``'Vitis'`` or ``'Vivado'``.
    io_type
        ``'io_parallel'`` or ``'io_stream'``; by default the configuration's ``'IOType'``, else
        ``'io_parallel'``.
    part
        Part number of the FPGA, as hls4ml spells it; the backend's default without it.
    output_dir
        Folder of the project; by default a temporary one that is removed at the end.
    samples
        Number of samples to run: the first of X.
    compile
        Whether to compile the code (about 10 s for a small model, minutes for a large unrolled one) and to
        run it. Without it only multipliers are counted.
    expected
        Layer -> multipliers that the code must have, instead of the number that the model's weights need.
    synthesis
        Whether to run the backend's synthesis too. That needs its tool on PATH, and minutes to hours. Its
        report is compared with the estimate.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        The model, X or an option is invalid, or a layer's numbers are too wide to be emulated.
    MissingExtraError
        hls4ml or the C++ compiler is not installed.
    FabricFitError
        hls4ml refuses the model, or the code cannot be compiled or stops while it runs.
    """
    network = as_network(model)
    _check_options(backend, samples, compile, synthesis)
    hls_config = open_configuration(hls_config, network)
    io_type = _resolve_io_type(hls_config, io_type)
    arrays = _prepare_inputs(model, X, samples)
    output = CapturedOutput()
    folder = tempfile.TemporaryDirectory(prefix="fabricfit-") if output_dir is None else None
    with folder or nullcontext(str(output_dir)) as where:
        path = Path(where).resolve()
        hls_model = convert(
            model,
            hls_config.get("HLSConfig", hls_config),
            path,
            output,
            backend=backend,
            io_type=io_type,
            part=part,
        )
        layers = _compare_counts(network, hls_model, hls_config, expected)
        emulation, results = Emulation(), None
        if compile:
            library = compile_project(hls_model, output)
            results = run_project(hls_model, library, arrays)
            emulation = emulate_network(network, hls_model, arrays, results.layers)
        differ = _find_differing_headers(path / "firmware" / "weights")
        comparisons = _run_synthesis(network, hls_model, hls_config, io_type) if synthesis else ()
    mismatches, agree = _compare_results(hls_model, emulation, results) if results else ((), False)
    remarks = ["no data was given: the samples are random numbers"] if X is None and compile else []
    remarks += emulation.remarks + output.remarks + _remark_on_counts(layers)
    remarks += [f"synthesis reads other weights than the simulation: {name}" for name in differ]
    return Verification(
        layers,
        compile,
        agree,
        mismatches,
        len(arrays[0]) if compile else 0,
        tuple(f"{name}: {reason}" for name, reason in emulation.not_modelled.items()),
        tuple(remarks),
        differ,
        comparisons,
    )


def _remark_on_counts(layers: Sequence[LayerVerification]) -> list[str]:
    """Return remarks on multipliers that cannot be predicted, or that zeros after rounding still cost."""
    remarks = [
        f"multipliers of layer {layer.name!r} are counted but cannot be predicted"
        for layer in layers
        if layer.expected is None and layer.multipliers
    ]
    remarks += [
        f"layer {layer.name!r}: {layer.multipliers - layer.expected} more multipliers than its quantized "
        "weights need: hls4ml looks for zeros before it quantizes. fabricfit.firmware.quantize_to_grid "
        "quantizes them first"
        for layer in layers
        if layer.expected is not None and layer.multipliers > layer.expected
    ]
    return remarks


def expected_multipliers(kernel: Any, reuse_factor: int, strategy: str) -> int:
    """Return the multipliers that a layer's weights need.

    Parameters
    ----------
    kernel
        Quantized weights, outputs on the last axis.
    reuse_factor
        Number of weights that one multiplier serves.
    strategy
        Resource has a multiplier for each run of RF weights; ResourceUnrolled for each run with a non-zero
        weight; Latency for each non-zero weight; distributed arithmetic has none.
    """
    name, flat = canonical_strategy(strategy), np.moveaxis(np.asarray(kernel), -1, 0).ravel()
    if name == "latency":
        return int(np.count_nonzero(flat))
    if name == "distributed_arithmetic":
        return 0
    runs = flat.reshape(-1, reuse_factor)
    return len(runs) if name == "resource" else int(runs.any(axis=1).sum())


def _compare_counts(
    network: Network,
    hls_model: Any,
    hls_config: Mapping[str, Any],
    expected: Mapping[str, int] | None,
) -> tuple[LayerVerification, ...]:
    nodes = {node.name: node for node in hls_model.get_layers()}
    weights = KerasWeights(network, frozenset(nodes))
    counted = count_multiplications(hls_model)
    missing = sorted(set(expected or ()) - set(counted))
    if missing:
        raise InvalidInputError(
            f"expected names layers without multipliers in hls4ml's project: {missing}. Those with "
            f"multipliers are {list(counted)}."
        )
    found = []
    for name, count in counted.items():
        layer, _, part = name.partition("/")
        node, needed, constants = nodes[layer], (expected or {}).get(name), None
        try:
            kernel = weights.kernel(node, part).values
            one = expected_multipliers(kernel, count.reuse_factor, count.strategy)
            needed = one * count.copies if needed is None else needed
            constants = latency_dsp(kernel) * count.copies
        except NotModelledError:
            pass
        agrees = needed is None or bool(needed == count.multipliers)
        if count.constants is not None and constants is not None:
            agrees &= bool(count.constants == constants)
        found.append(
            LayerVerification(
                name,
                _find_stated_strategy(hls_config, node),
                count.strategy,
                int(count.reuse_factor),
                int(count.multipliers),
                None if needed is None else int(needed),
                int(count.products),
                agrees,
                count.constants,
                constants if count.constants is not None else None,
            )
        )
    return tuple(found)


def _find_stated_strategy(hls_config: Mapping[str, Any], node: Any) -> str:
    """Return the strategy that a configuration states for a layer."""
    config = hls_config.get("HLSConfig", hls_config)
    for section, key in (("LayerName", node.name), ("LayerType", node.get_attr("class_name"))):
        sections = config.get(section) or {}
        name = find_key(sections, str(key))
        if name is not None and sections[name].get("Strategy"):
            return str(sections[name]["Strategy"])
    return str((config.get("Model") or {}).get("Strategy") or "Latency")


def _compare_results(
    hls_model: Any, emulation: Emulation, results: Results
) -> tuple[tuple[Mismatch, ...], bool]:
    """Return the layers whose results differ, and whether every output was compared and agrees."""
    found, agree = [], True
    for name, tensor in emulation.layers.items():
        if name in results.layers and name not in emulation.not_modelled:
            observed = results.layers[name].reshape(tensor.shape)
            off = np.abs(tensor.to_float() - observed).reshape(len(observed), -1)
            if off.any():
                unit = 2.0**-tensor.format.fractional
                found.append(Mismatch(name, int(off.any(axis=1).sum()), round(off.max() / unit)))
    for output, observed in zip(hls_model.outputs, results.outputs, strict=True):
        name = next(n.name for n in hls_model.get_layers() if output in n.outputs)
        emulated = emulation.layers[name].to_float().reshape(observed.shape)
        agree &= name not in emulation.not_modelled and bool((emulated == observed).all())
    return tuple(found), agree


def _find_differing_headers(folder: Path) -> tuple[str, ...]:
    """Return the headers, which synthesis reads, that differ from the text files of the simulation."""
    found = []
    for text in sorted(folder.glob("*.txt")):
        header = text.with_suffix(".h")
        numbers = re.search(
            r"= \{(.*)\};", header.read_text() if header.exists() else "", re.DOTALL
        )
        if numbers is None or numbers[1].split() != text.read_text().split():
            found.append(header.name)
    return tuple(found)


def _run_synthesis(
    network: Network, hls_model: Any, hls_config: Mapping[str, Any], io_type: str
) -> tuple[Comparison, ...]:
    """Run the backend's synthesis, and compare each of its reports with the estimate."""
    family = family_of_part(hls_model.config.get_config_value("Part"))
    expected = estimate(network, {**hls_config, "IOType": io_type}, family=family)
    return tuple(compare(report, expected) for report in synthesize(hls_model))


def _check_options(backend: str, samples: int, compile: bool, synthesis: bool) -> None:
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    whole_number("samples", samples)
    if compile:
        require_compiler()
    if synthesis and find_tool(backend) is None:
        raise InvalidInputError(
            f"synthesis=True needs the HLS tool of {backend}, which is not on PATH. Set up the vendor's "
            "environment first, or leave synthesis out."
        )


def _resolve_io_type(hls_config: Mapping[str, Any], io_type: str | None) -> str:
    return read_io_type(hls_config) if io_type is None else check_io_type(io_type)


def _prepare_inputs(model: Any, X: Any, samples: int) -> Sequence[np.ndarray]:
    """Return one float64 array for each input of the model; random numbers where there is no data."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if X is None:
        rng = np.random.default_rng(0)
        return [rng.normal(size=(samples, *(n or 1 for n in shape))) for shape in shapes]
    given = list(X) if isinstance(X, (list, tuple)) and len(shapes) > 1 else [X]
    if len(given) != len(shapes):
        raise InvalidInputError(
            f"X must hold one array for each of the model's {len(shapes)} inputs. "
            f"Received: {len(given)}"
        )
    arrays: list[np.ndarray] = []
    for x, shape in zip(given, shapes, strict=True):
        try:
            array: np.ndarray = np.asarray(x, np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidTypeError(f"X must hold numbers: {error}") from error
        if array.ndim != len(shape) + 1 or len(array) == 0 or array.shape[1:] != shape:
            raise InvalidInputError(
                f"X must have the shape (samples, {', '.join(map(str, shape))}). "
                f"Received: {array.shape}"
            )
        if not np.isfinite(array).all():
            raise InvalidInputError("X must be finite. Received: NaN or infinite numbers")
        arrays.append(np.ascontiguousarray(array[:samples]))
    if len({len(array) for array in arrays}) > 1:
        raise InvalidInputError(
            "X must hold the same number of samples for every input. "
            f"Received: {[len(array) for array in arrays]}"
        )
    return arrays
