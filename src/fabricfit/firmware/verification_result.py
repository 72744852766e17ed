"""Outcome of a verification, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from fabricfit.firmware.rtl_result import RtlVerification
from fabricfit.synthesis.comparison import Comparison
from fabricfit.tables import Document, Printable, TextTable

__all__ = [
    "LayerDifference",
    "LayerVerification",
    "Mismatch",
    "Outcome",
    "OutputDifference",
    "QuantizedMetric",
    "Verification",
]


class Outcome(StrEnum):
    """What a verification says of a design.

    ``PASSED``: all that was asked for was verified. ``NOT_PROVEN``: nothing is wrong as far as it could be
    seen, but not everything could be. ``FAILED``: the design is not what the model says.
    """

    PASSED = "passed"
    NOT_PROVEN = "not proven"
    FAILED = "failed"


@dataclass(frozen=True)
class LayerVerification:
    """Multipliers of one layer in the generated code.

    Parameters
    ----------
    name
        The layer.
    strategy_asked, strategy
        Strategy that the configuration states, and the one that is built.
    reuse_factor
        The reuse factor that is built.
    multipliers
        Multipliers counted in the generated code.
    expected
        Multipliers that the model's weights need; ``None`` where that is not known.
    products
        Products written out in the generated code.
    agrees
        Whether the counts are as expected; true where no expected count is known.
    constants, expected_constants
        Where weights are constants: the number of those that need a multiplier, in the generated code and
        in the model; ``None`` elsewhere, and where it is not known.
    off_grid
        Weights that the hardware's number format cannot represent. hls4ml looks for zeros before it
        quantizes, so that a layer may have more multipliers than its quantized weights need.
    explained
        Whether the counts are as expected, or differ only since weights are off the grid.
    """

    name: str
    strategy_asked: str
    strategy: str
    reuse_factor: int
    multipliers: int
    expected: int | None
    products: int
    agrees: bool
    constants: int | None = None
    expected_constants: int | None = None
    off_grid: int = 0
    explained: bool = True

    @property
    def verdict(self) -> str:
        """What the table says of the counts."""
        if self.expected is None:
            return "not known"
        if self.agrees:
            return "ok"
        return "off the grid" if self.explained else "DIFFERS"


@dataclass(frozen=True)
class LayerDifference:
    """A layer that computes something else than Keras does from the same inputs.

    Parameters
    ----------
    layer
        The layer.
    results, of
        Number of results that differ by more than the number formats account for, and of all.
    largest
        The largest difference among them.
    accounted_for
        What the number formats of the layer account for.
    """

    layer: str
    results: int
    of: int
    largest: float
    accounted_for: float

    def __str__(self) -> str:
        return (
            f"layer {self.layer!r} computes another function than Keras: {self.results} of {self.of} results "
            f"differ by up to {self.largest:.4g}, and its number formats account for {self.accounted_for:.2g}"
        )


@dataclass(frozen=True)
class OutputDifference:
    """How far an output is from what Keras computes of the same samples.

    Parameters
    ----------
    layer
        The layer whose results the output is.
    largest, typical
        Largest difference of a result, and root mean square.
    accounted_for
        What the number formats account for: those of this layer, and what comes of the differences in the
        layers before it, each of which was compared by itself. ``None`` where no bound is known.
    """

    layer: str
    largest: float
    typical: float
    accounted_for: float | None

    def __str__(self) -> str:
        accounts = (
            ""
            if self.accounted_for is None
            else f"; number formats account for {self.accounted_for:.2g}"
        )
        return (
            f"output {self.layer!r} differs from Keras' by {self.typical:.2g} (root mean square), by up to "
            f"{self.largest:.4g}{accounts}"
        )


@dataclass(frozen=True)
class QuantizedMetric:
    """A metric of the design beside that of the Keras model.

    Parameters
    ----------
    name
        The metric.
    keras, hardware
        Its values.
    samples
        Number of samples.
    """

    name: str
    keras: float
    hardware: float
    samples: int

    def __str__(self) -> str:
        return (
            f"{self.name} on {self.samples:,} samples: {self.keras:.5g} in Keras, "
            f"{self.hardware:.5g} in hardware"
        )


@dataclass(frozen=True)
class Mismatch:
    """A layer whose results differ from those of the emulation.

    Parameters
    ----------
    layer
        The layer.
    samples
        Number of samples that differ in at least one value.
    largest
        The largest difference, in units of the last bit of the layer's results.
    """

    layer: str
    samples: int
    largest: int


def _format_count(count: int | None) -> str:
    return "?" if count is None else str(count)


@dataclass(frozen=True)
class Verification(Printable):
    """Outcome of the verification of a model's generated code.

    Parameters
    ----------
    layers
        The layers with multipliers.
    compiled
        Whether the code was compiled and run.
    outputs_agree
        Whether every output of the model agrees with the emulation bit for bit. False where the code
        was not run, and where an output comes from a layer that is not modelled.
    mismatches
        Layers whose results differ, in the order of computation: the first is where to look.
    samples
        Samples that were run.
    not_modelled
        Layers that the emulation does not compute, and why; the layers behind them were emulated from
        their results in the generated code.
    remarks
        Further remarks: hls4ml's own warnings, weights that synthesis and simulation read differently,
        layers that are missing.
    headers_differ
        Files of weights in which synthesis reads other numbers than the C++ simulation.
    synthesis
        Reports of the synthesis compared with the estimate, where ``synthesis=True`` was passed.
    outputs
        Each output compared with Keras'.
    differences
        Layers that compute another function than Keras does.
    overflows
        Results that are beyond their number formats, where that makes a difference.
    wrongly_built
        What hls4ml is known to build otherwise than the model says, with what to do.
    metric
        The metric of the design, where targets were given.
    not_compared
        What could not be compared with Keras, and why.
    rtl
        The network's own Verilog, simulated and synthesized, where ``rtl=True`` was passed.
    """

    layers: tuple[LayerVerification, ...]
    compiled: bool
    outputs_agree: bool
    mismatches: tuple[Mismatch, ...] = ()
    samples: int = 0
    not_modelled: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    headers_differ: tuple[str, ...] = ()
    synthesis: tuple[Comparison, ...] = ()
    outputs: tuple[OutputDifference, ...] = ()
    differences: tuple[LayerDifference, ...] = ()
    overflows: tuple[str, ...] = ()
    wrongly_built: tuple[str, ...] = ()
    metric: QuantizedMetric | None = None
    not_compared: tuple[str, ...] = ()
    rtl: RtlVerification | None = None

    @property
    def counts_agree(self) -> bool:
        """Whether every layer has the number of multipliers that was expected."""
        return all(layer.agrees for layer in self.layers)

    @property
    def outcome(self) -> Outcome:
        """What is said of the design as a whole."""
        if any(self._list_failures()):
            return Outcome.FAILED
        return Outcome.NOT_PROVEN if any(self._list_gaps()) else Outcome.PASSED

    @property
    def passed(self) -> bool:
        """Whether the outcome is :attr:`Outcome.PASSED`."""
        return self.outcome is Outcome.PASSED

    def _list_failures(self) -> Iterator[str]:
        yield from self.wrongly_built
        yield from map(str, self.differences)
        if any(not layer.explained for layer in self.layers):
            yield "multipliers are not those of the weights"
        if self.headers_differ:
            yield "synthesis reads other weights than the simulation"
        if self.mismatches:
            yield "results differ from the emulation"
        if self.rtl is not None and not self.rtl.agrees:
            yield "results of the Verilog differ from the emulation"

    def _list_gaps(self) -> Iterator[str]:
        if not self.counts_agree:
            yield "weights off the grid cost multipliers"
        if self.compiled and self.not_modelled:
            yield "layers are not modelled"
        elif self.compiled and not self.outputs_agree:
            yield "an output could not be compared"
        if self.not_compared:
            yield "results could not be compared with Keras"

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain numbers, strings, lists and dictionaries."""
        return {
            "outcome": self.outcome.value,
            "passed": self.passed,
            "counts_agree": self.counts_agree,
            **asdict(replace(self, rtl=None)),
            "layers": [asdict(layer) for layer in self.layers],
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "not_modelled": list(self.not_modelled),
            "remarks": list(self.remarks),
            "headers_differ": list(self.headers_differ),
            "synthesis": [comparison.to_dict() for comparison in self.synthesis],
            "outputs": [asdict(output) for output in self.outputs],
            "differences": [asdict(difference) for difference in self.differences],
            "overflows": list(self.overflows),
            "wrongly_built": list(self.wrongly_built),
            "not_compared": list(self.not_compared),
            "rtl": None if self.rtl is None else self.rtl.to_dict(),
            "metric": None if self.metric is None else asdict(self.metric),
        }

    def _make_document(self) -> Document:
        head = (
            *("layer", "asked", "built", "RF", "multipliers", "expected", "products"),
            *("constants", "expected", ""),
        )
        rows = [
            (
                layer.name,
                layer.strategy_asked,
                layer.strategy,
                str(layer.reuse_factor),
                str(layer.multipliers),
                _format_count(layer.expected),
                str(layer.products),
                "" if layer.constants is None else str(layer.constants),
                "" if layer.constants is None else _format_count(layer.expected_constants),
                layer.verdict,
            )
            for layer in self.layers
        ]
        names = frozenset((0, 1, 2, len(head) - 1))
        return Document([TextTable(head, rows, names), *self._describe_results()])

    def _describe_results(self) -> list[str | Document]:
        lines: list[str | Document] = []
        if not self.compiled:
            lines.append("The generated code was not run.")
        elif self.outputs_agree and not self.mismatches:
            which = "every layer that is modelled" if self.not_modelled else "every layer"
            lines.append(f"{self.samples} samples: {which} agrees bit for bit.")
        elif not self.mismatches:
            lines.append(f"{self.samples} samples: an output could not be compared.")
        lines += [
            f"{m.layer}: {m.samples} of {self.samples} samples differ, by up to {m.largest} units "
            "of the last bit"
            for m in self.mismatches
        ]
        lines += [f"not modelled: {text}" for text in self.not_modelled]
        lines += map(str, self.outputs)
        lines += map(str, self.differences)
        lines += self.overflows
        lines += self.wrongly_built
        lines += self.not_compared
        lines += [] if self.metric is None else [str(self.metric)]
        lines += self.remarks
        lines += [each._make_document() for each in self.synthesis]
        lines += [] if self.rtl is None else [self.rtl._make_document()]
        if self.outcome is Outcome.FAILED:
            return [*lines, "FAILED"]
        gaps = "; ".join(self._list_gaps())
        return [*lines, f"{self.outcome.value}: {gaps}" if gaps else self.outcome.value]
