"""Verification of the generated code: its multipliers are counted, its results compared bit for bit.

hls4ml converts the model. The multipliers in its C++ are counted and compared with the number that the
model's weights need; the C++ is compiled, run on samples and compared, layer by layer, with an independent
emulation in integer arithmetic, and with what Keras computes.
"""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.checks import flag, whole_number
from fabricfit.errors import FabricFitError, InvalidInputError, MissingExtraError
from fabricfit.firmware.accelerator import project_options, read_wrapper
from fabricfit.firmware.bounded import LimitExceededError, Limits
from fabricfit.firmware.comparison import KerasComparison, compare_with_keras
from fabricfit.firmware.emulation import Emulation, FixedTensor, emulate_network
from fabricfit.firmware.expected_counts import (
    compare_counts,
    expected_multipliers,
    remark_on_counts,
)
from fabricfit.firmware.metrics import compare_metric
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl import make_design, verify_design
from fabricfit.firmware.rtl_result import RtlVerification
from fabricfit.firmware.simulation import (
    CapturedOutput,
    Results,
    announce_graphs,
    compile_project,
    convert,
    require_compiler,
    resolve_io_type,
    run_project,
)
from fabricfit.firmware.verification_input import (
    check_expected,
    check_place,
    check_stated,
    check_targets,
    prepare_inputs,
)
from fabricfit.firmware.verification_result import (
    LayerVerification,
    Mismatch,
    Outcome,
    Verification,
)
from fabricfit.hardware.devices import family_of_part
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hls4ml.backends import read_backend, require_emulated
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.network.buildable import list_limits
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml, describe_network
from fabricfit.network.estimation import estimate
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.synthesis.comparison import Comparison, compare
from fabricfit.synthesis.iverilog import require_simulator
from fabricfit.synthesis.tools import find_tool, synthesize

__all__ = [
    "LayerVerification",
    "Mismatch",
    "Outcome",
    "Verification",
    "expected_multipliers",
    "verify",
]

DEFAULT_TIME_LIMIT = 3600.0
"""Seconds that compiling and running the generated code may take."""

logger = logging.getLogger(__name__)


def verify(
    model: Any,
    hls_config: ConfigurationLike,
    X: Any = None,
    *,
    y: Any = None,
    metric: Any = None,
    backend: str | None = None,
    io_type: str | None = None,
    part: str | None = None,
    output_dir: str | Path | None = None,
    samples: int = 100,
    compile: bool = True,
    time_limit: float | None = DEFAULT_TIME_LIMIT,
    memory_limit: float | None = None,
    expected: Mapping[str, int] | None = None,
    synthesis: bool = False,
    rtl: bool = False,
) -> Verification:
    """Convert a model with hls4ml, count the multipliers of its code, and compare its results.

    Three comparisons are made of the results. Bit for bit with an emulation of the number formats in
    integer arithmetic. Layer by layer with Keras: each layer is computed by Keras from the results that the
    code gave for the layers before it, with the weights as they are in hardware, and may differ by what this
    layer's own number formats account for: one unit of the last bit for each cast, so that a sum of n
    products may differ by n units of the accumulator; the step of a table; where no such bound is known
    (recurrent layers), by a quarter of the spread of the results. And output by output with Keras' results,
    which may differ by what comes of all that. Results beyond their number format, which saturate or wrap,
    are told and not compared.

    The outcome is one of three. *Failed*: the multipliers are not those of the weights, or results differ by
    more, or hls4ml is known to build something else. *Not proven*: nothing is wrong, but a layer is not
    modelled bit for bit, or weights that are not on the hardware grid cost multipliers. *Passed*: neither.

    Parameters
    ----------
    model
        A Keras model. hls4ml leaves out only weights that are exactly zero.
    hls_config
        hls4ml's configuration, or a file of it, such as the ``hls4ml_config.yml`` of a project.
    X
        Inputs of shape ``(n, *input_shape)``, preferably real data; a list of arrays for several inputs.
        By default, normally distributed random numbers.
    y
        Targets of X, for the metric of the design beside that of the Keras model, on all of X.
    metric
        The metric, as for :class:`fabricfit.OptimizationSettings`. By default the accuracy where targets are
        whole numbers, else the mean squared error.
    backend
        ``'Vitis'``, ``'Vivado'`` or ``'VivadoAccelerator'``; by default the configuration's ``'Backend'``,
        else ``'Vitis'``. Of an accelerator the network is verified on what its AXI wrapper passes on to it,
        and the wrapper's outputs.
    io_type
        ``'io_parallel'`` or ``'io_stream'``; by default the configuration's ``'IOType'``, else
        ``'io_parallel'``.
    part
        Part number of the FPGA, as hls4ml spells it; by default the configuration's ``'Part'`` or that of its
        board, else the backend's default.
    output_dir
        Folder of the project; by default a temporary one that is removed at the end.
    samples
        Number of samples whose results are compared: the first of X.
    compile
        Whether to compile the code (about 10 s for a small model, minutes for a large unrolled one) and to
        run it. Without it only multipliers are counted.
    time_limit
        Seconds that compiling and running may take together, an hour by default; None for no limit. A design
        that needs more is only counted, and its outcome is *not proven*.
    memory_limit
        Memory in GiB that each of the programs may take; None for no limit.
    expected
        Layer -> multipliers that the code must have, instead of the number that the model's weights need.
    synthesis
        Whether to run the backend's synthesis too. That needs its tool on PATH, and minutes to hours. Its
        report is compared with the estimate.
    rtl
        Whether to write the network as Verilog too (:func:`fabricfit.to_rtl`), simulate it on the
        same samples with ``iverilog`` and synthesize it with ``yosys``: seconds to minutes.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        The model, X or an option is invalid, a layer's numbers are too wide to be emulated, or, with
        ``rtl=True``, a layer cannot be written as a circuit of constants.
    MissingExtraError
        hls4ml or the C++ compiler is not installed; with ``rtl=True``, ``alkaid`` or Icarus Verilog.
    FabricFitError
        hls4ml refuses the model, or the code cannot be compiled or stops while it runs.
    """
    for name, value in (("compile", compile), ("synthesis", synthesis), ("rtl", rtl)):
        flag(name, value)
    samples = whole_number("samples", samples)
    Limits(time_limit, memory_limit)
    check_place(output_dir)
    expected = check_expected(expected)
    if part is not None:
        family_of_part(part)
    network = open_network(model)
    hls_config = open_configuration(hls_config, network)
    check_stated(hls_config)
    backend = require_emulated(read_backend(hls_config).name if backend is None else backend).name
    _require_tools(backend, compile, synthesis)
    if rtl:
        require_simulator()
    options = project_options(backend, hls_config, part, network.model)
    io_type = resolve_io_type(hls_config, io_type)
    arrays = prepare_inputs(network, X, samples)
    if y is not None:
        check_targets(network, arrays, X, y, metric)
    compared = [array[:samples] for array in arrays]
    wrong = _list_wrong(network, hls_config, io_type, backend)
    own_verilog = None
    if rtl:
        config = {**hls_config, "IOType": io_type}
        own_verilog = _verify_rtl(network, config, backend, options.get("part"), compared)
    output, stopped = CapturedOutput(), ""
    logger.info("converting %r with hls4ml", network.model.name)
    folder = tempfile.TemporaryDirectory(prefix="fabricfit-") if output_dir is None else None
    with folder or nullcontext(str(output_dir)) as where:
        path = Path(where).resolve()
        try:
            hls_model = convert(
                network.model,
                hls_config.get("HLSConfig", hls_config),
                path,
                output,
                backend=backend,
                io_type=io_type,
                options=options,
            )
        except MissingExtraError:
            raise
        except FabricFitError as error:
            raise FabricFitError("\n- ".join([str(error), *wrong])) from error
        layers = compare_counts(network, hls_model, hls_config, expected)
        emulation, results, against_keras, found_metric = Emulation(), None, KerasComparison(), None
        if compile:
            try:
                limits = Limits(time_limit, memory_limit)
                logger.info("compiling the generated code, %s", limits)
                library, wrapper = compile_project(hls_model, limits), read_wrapper(hls_model)
                compared = wrapper.pass_inputs(compared)
                logger.info("simulating %d samples, %s", len(compared[0]), limits)
                observed = run_project(hls_model, library, compared, limits=limits)
                results = wrapper.unwrap(hls_model, observed)
            except LimitExceededError as error:
                compile, stopped = False, f"{error}: only its multipliers were counted"
        if results is not None:
            logger.info("comparing the results with the emulation and with Keras")
            emulation = emulate_network(network, hls_model, compared, results.layers)
            against_keras = compare_with_keras(network, hls_model, results, compared)
            if y is not None:
                logger.info("simulating all %d samples for the metric", len(arrays[0]))
                try:
                    computed = run_project(hls_model, library, arrays, False, limits).outputs
                    found_metric = compare_metric(network, arrays, computed, y, metric)
                except LimitExceededError as error:
                    stopped = f"{error}: the metric was not computed"
        differ = _find_differing_headers(path / "firmware" / "weights")
        comparisons = _run_synthesis(network, hls_model, hls_config, io_type) if synthesis else ()
    mismatches, agree = _compare_results(hls_model, emulation, results) if results else ((), False)
    remarks = ["no data was given: the samples are random numbers"] if X is None and compile else []
    remarks += emulation.remarks + output.remarks + remark_on_counts(layers)
    remarks += [f"synthesis reads other weights than the simulation: {name}" for name in differ]
    return Verification(
        layers,
        compile,
        agree,
        mismatches,
        len(compared[0]) if compile else 0,
        tuple(f"{name}: {reason}" for name, reason in emulation.not_modelled.items()),
        tuple(remarks),
        differ,
        comparisons,
        tuple(against_keras.outputs),
        tuple(against_keras.differences),
        tuple(against_keras.overflows),
        tuple(wrong),
        found_metric,
        (*against_keras.not_compared, *([stopped] if stopped else [])),
        own_verilog,
    )


def _verify_rtl(
    network: Network,
    hls_config: Mapping[str, Any],
    backend: str,
    part: str | None,
    arrays: Sequence[np.ndarray],
) -> RtlVerification:
    """Write the network as Verilog, simulate it and synthesize it for a part, if one is known."""
    quantized = QuantizedNetwork(network, hls_config, backend)
    family = family_of_part(part) if part else DEFAULT_FAMILY
    return verify_design(make_design(quantized), quantized, arrays, family=family)


def _list_wrong(
    network: Network, hls_config: Mapping[str, Any], io_type: str, backend: str
) -> list[str]:
    """Return what hls4ml is known to build otherwise than the model says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            attributes = describe_for_hls4ml(network, hls_config)
        except FabricFitError:  # hls4ml has its own word on such a configuration
            attributes = describe_network(network)
        limits = list_limits(network, attributes, hls_config, io_type=io_type, backend=backend)
    announce_graphs(network, attributes)
    return [str(finding) for finding in limits if finding.limit.is_wrong]


def _compare_results(
    hls_model: Any, emulation: Emulation, results: Results
) -> tuple[tuple[Mismatch, ...], bool]:
    """Return the layers whose results differ, and whether every output was compared and agrees."""
    found, agree = [], True
    for name, tensor in emulation.layers.items():
        if name in results.layers and name not in emulation.not_modelled:
            observed = results.layers[name].reshape(tensor.shape)
            off = np.abs(tensor.to_float() - observed)
            if off.any():
                found.append(_mismatch(name, tensor, off))
    named = {mismatch.layer for mismatch in found}
    for output, observed in zip(hls_model.outputs, results.outputs, strict=True):
        name = next(n.name for n in hls_model.get_layers() if output in n.outputs)
        tensor = emulation.layers[name]
        off = np.abs(tensor.to_float().reshape(observed.shape) - observed)
        agree &= name not in emulation.not_modelled and not off.any()
        if off.any() and name not in named and name not in emulation.not_modelled:
            found.append(_mismatch(name, tensor, off))
    return tuple(found), agree


def _mismatch(name: str, tensor: FixedTensor, off: np.ndarray) -> Mismatch:
    by_sample = off.reshape(len(off), -1)
    unit = 2.0**-tensor.format.fractional
    return Mismatch(name, int(by_sample.any(axis=1).sum()), round(by_sample.max() / unit))


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


def _require_tools(backend: str, compile: bool, synthesis: bool) -> None:
    if compile:
        require_compiler()
    if synthesis and find_tool(backend) is None:
        raise InvalidInputError(
            f"synthesis=True needs the HLS tool of {backend}, which is not on PATH. Set up the vendor's "
            "environment first, or leave synthesis out."
        )
