"""What a calibration found: hls4ml's configuration, the formats in it, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fabricfit.calibration.figures import Figures
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["Calibration", "NumberFormat"]


@dataclass(frozen=True)
class NumberFormat:
    """The number format of a tensor, of weights, or of sums.

    Parameters
    ----------
    layer
        Name of the layer in hls4ml's configuration.
    numbers
        What they are in the configuration's precisions: ``'result'``, ``'weight'``, ``'accum'``, …
    least, largest
        The smallest and the largest that occur: in the data, among the weights; None of sums and biases.
    precision
        The format as the configuration states it.
    width, integer, fractional
        Its bits: in all, before the point (the sign included) and after it.
    stated
        Whether the configuration that was given stated it.
    less
        The loss that one fractional bit less is expected to add; None where no bit may be missing.
    """

    layer: str
    numbers: str
    least: float | None
    largest: float | None
    precision: str
    width: int
    integer: int
    fractional: int
    stated: bool = False
    less: float | None = None


@dataclass(frozen=True)
class Calibration(Printable):
    """Number formats of a network from data, and what they cost.

    Parameters
    ----------
    config
        hls4ml's configuration: for ``hls4ml.converters.convert_from_keras_model``,
        :func:`fabricfit.estimate`, :func:`fabricfit.fit` and :func:`fabricfit.verify`, and plain data for a
        JSON file.
    formats
        The formats in it, in the order in which data pass.
    samples
        Number of samples on which both networks were measured.
    in_floats
        Loss and metrics of the model as Keras computes it.
    quantized
        Those of the network that hls4ml builds, bit for bit; where ``not_emulated`` says why there are none,
        those of the model with its tensors and weights rounded.
    expected
        The rise of the loss that the formats were chosen for.
    allowed
        The rise of the loss, and no more, that counts as none.
    lossless
        Whether the measured rise is within that, and no metric differs by more than half of its standard
        error.
    loss_name
        What the loss is called.
    left
        Layer -> why formats inside of it are not calibrated.
    not_emulated
        Why the network was not computed bit for bit; empty where it was.
    model
        The model with its weights on the grids of their formats, and with the normalizations that hls4ml
        folds folded: the same configuration is for it. Distributed arithmetic, which builds weights as they
        are, needs it.
    """

    config: dict[str, Any]
    formats: tuple[NumberFormat, ...]
    samples: int
    in_floats: Figures
    quantized: Figures
    expected: float
    allowed: float
    lossless: bool
    loss_name: str = "loss"
    left: dict[str, str] | None = None
    not_emulated: str = ""
    model: Any = field(default=None, repr=False, compare=False)

    @property
    def mean_bits(self) -> float:
        """Mean width of the calibrated formats: of tensors and weights, without sums and biases."""
        widths = [each.width for each in self.formats if each.less is not None]
        return sum(widths) / len(widths) if widths else 0.0

    @property
    def measured(self) -> float:
        """The rise of the loss that was measured."""
        return self.quantized.loss - self.in_floats.loss

    def _make_document(self) -> Document:
        header = (
            "layer",
            "numbers",
            "least",
            "largest",
            "precision",
            "bits",
            f"one less: {self.loss_name}",
        )
        rows = [
            (
                each.layer,
                each.numbers,
                _short(each.least),
                _short(each.largest),
                each.precision + (" (stated)" if each.stated else ""),
                str(each.width),
                "" if each.less is None else f"+{each.less:.1e}",
            )
            for each in self.formats
        ]
        table = TextTable(header, rows, frozenset((0, 1, 4)))
        return Document([table, "", *self._list_sentences()])

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        found = asdict(replace(self, model=None))
        del found["model"]
        return {**found, "mean_bits": self.mean_bits, "measured": self.measured}

    def to_frame(self) -> Any:
        """Return the formats as a pandas data frame, a row each."""
        import pandas

        return pandas.DataFrame([asdict(each) for each in self.formats])

    def _list_sentences(self) -> Iterator[str]:
        what = "rounded tensor by tensor" if self.not_emulated else "bit for bit"
        yield f"{self.samples:,} samples, in floats and {what}:"
        yield (
            f"  {self.loss_name}: {self.in_floats.loss:.5g} -> {self.quantized.loss:.5g} "
            f"({self.measured:+.1e}; expected {self.expected:+.1e}; at most {self.allowed:+.1e} counts as "
            "none)"
        )
        for name, value in self.in_floats.metrics.items():
            error = self.in_floats.metric_errors[name]
            yield f"  {name}: {value:.4f} ± {error:.4f} -> {self.quantized.metrics[name]:.4f}"
        yield (
            "Nothing is lost that could be measured."
            if self.lossless
            else "More is lost than counts as none."
        )
        for layer, reason in (self.left or {}).items():
            yield f"{layer}: {reason}"
        if self.not_emulated:
            yield f"Not computed bit for bit: {self.not_emulated}"


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"
