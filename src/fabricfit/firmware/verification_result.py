"""Outcome of a verification, as data and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fabricfit.synthesis.comparison import Comparison
from fabricfit.tables import TextTable

__all__ = ["LayerVerification", "Mismatch", "Verification"]


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


_AGREEMENT = {(True, True): "ok", (True, False): "DIFFERS", (False, True): "not known"}


@dataclass(frozen=True)
class Verification:
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

    @property
    def counts_agree(self) -> bool:
        """Whether every layer has the number of multipliers that was expected."""
        return all(layer.agrees for layer in self.layers)

    @property
    def passed(self) -> bool:
        """Whether the counts agree and, if the code was run, the results of every layer do."""
        ran_well = self.outputs_agree and not self.mismatches
        return self.counts_agree and not self.headers_differ and (ran_well or not self.compiled)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain numbers, strings, lists and dictionaries."""
        return {
            "passed": self.passed,
            "counts_agree": self.counts_agree,
            **asdict(self),
            "layers": [asdict(layer) for layer in self.layers],
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "not_modelled": list(self.not_modelled),
            "remarks": list(self.remarks),
            "headers_differ": list(self.headers_differ),
            "synthesis": [comparison.to_dict() for comparison in self.synthesis],
        }

    def __str__(self) -> str:
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
                _AGREEMENT[layer.expected is not None, layer.agrees],
            )
            for layer in self.layers
        ]
        names = frozenset((0, 1, 2, len(head) - 1))
        return "\n".join([*TextTable(head, rows, names).lines(), *self._describe_results()])

    def _describe_results(self) -> list[str]:
        lines = []
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
        lines += self.remarks
        lines += map(str, self.synthesis)
        return [*lines, "passed" if self.passed else "FAILED"]
