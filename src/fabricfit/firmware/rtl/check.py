"""A network's Verilog simulated against the emulation, word for word, and synthesized as a whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np

from fabricfit.errors import MissingExtraError, TimeLimitError
from fabricfit.firmware.emulation import FixedTensor
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl_result import RtlDesign, RtlDifference, RtlVerification
from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.synthesis.iverilog import simulate_verilog
from fabricfit.synthesis.yosys import (
    YOSYS_FAMILIES,
    CellCounts,
    find_version,
    synthesize_verilog,
)

__all__ = ["TIME_LIMIT", "verify_design"]

logger = logging.getLogger(__name__)

TIME_LIMIT = 600.0
"""Seconds that a tool may take."""


def verify_design(
    design: RtlDesign,
    network: QuantizedNetwork,
    arrays: Sequence[np.ndarray],
    *,
    family: str = DEFAULT_FAMILY,
    synthesis: bool = True,
    seconds: float = TIME_LIMIT,
) -> RtlVerification:
    """Simulate a design, compare every word with the emulation, and synthesize it.

    Parameters
    ----------
    design
        The design of the network.
    network
        The network as hls4ml builds it.
    arrays
        An array for each input, samples first.
    family
        Family of devices to synthesize for.
    synthesis
        Whether to synthesize it.
    seconds
        Time limit of each tool. A simulation that exceeds it is an error, a synthesis a remark.

    Raises
    ------
    MissingExtraError
        Icarus Verilog is not installed. Without Yosys there is a remark.
    TimeLimitError
        The simulation takes longer.
    FabricFitError
        A tool refuses the Verilog.
    """
    given = [
        FixedTensor.from_float(np.reshape(array, (-1, *port.shape)), port.format)
        for array, port in zip(arrays, design.inputs, strict=True)
    ]
    words = {p.name: p.to_words(x.values) for p, x in zip(design.inputs, given, strict=True)}
    wanted = network.compute(arrays, [port.layer for port in design.outputs], design.ends_before)
    count = len(given[0].values)
    logger.info("Icarus Verilog: %d samples are simulated", count)
    found = simulate_verilog(
        design.text + design.testbench,
        f"{design.name}_testbench",
        words,
        [port.name for port in design.outputs],
        parameters={"SAMPLES": count},
        seconds=seconds,
    )
    differences = []
    for port, tensor in zip(design.outputs, wanted, strict=True):
        expected, got = port.to_words(tensor.values), found[port.name]
        got += [None] * (count - len(got))
        wrong = sum(a != b for a, b in zip(got, expected, strict=True))
        differences += [RtlDifference(port.layer, wrong)] if wrong else []
    remarks, cells, tool, started = [], None, "", time.perf_counter()
    if synthesis:
        if family not in YOSYS_FAMILIES:
            remarks.append(f"synthesized for {DEFAULT_FAMILY}, as Yosys knows no {family}")
            family = DEFAULT_FAMILY
        try:
            tool = find_version()
            cells = _synthesize(design, family, seconds)
        except (MissingExtraError, TimeLimitError) as error:
            remarks.append(f"not synthesized: {error}")
    taken = time.perf_counter() - started if synthesis else 0.0
    return RtlVerification(design, count, tuple(differences), cells, tool, taken, tuple(remarks))


def _synthesize(design: RtlDesign, family: str, seconds: float) -> CellCounts:
    return synthesize_verilog(
        design.text,
        design.name,
        family=family,
        shift_registers=False,
        merge_sums=False,
        seconds=seconds,
    )
