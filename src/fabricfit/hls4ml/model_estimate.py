"""Estimate of a model: layer by layer and as a whole, beside a budget's limits and deadlines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fabricfit.description.timing import Timing, spell_ns
from fabricfit.description.verdicts import Verdict, compare_with_limit, worst_verdict
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.estimates import Estimate, joined_notes, total
from fabricfit.hardware.families import find_family
from fabricfit.hardware.resource_records import resource_names
from fabricfit.hardware.resources import Resources
from fabricfit.hardware.synthesized import LOGIC_SYNTHESIS, after_synthesis
from fabricfit.hardware.targets import DEFAULT_TARGET, Target
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["LayerEstimate", "ModelEstimate"]


@dataclass(frozen=True)
class LayerEstimate:
    """One layer as it is built for one call of it.

    Parameters
    ----------
    name, kind
        The layer's name and its class; for the second call of a layer and those after it the name that hls4ml
        gives it, such as ``'layer_0'``.
    strategy
        The strategy that hls4ml really builds; empty for a layer without a kernel.
    reuse_factor
        The reuse factor that hls4ml really uses.
    weights, nonzeros
        Weights in the kernel, and those that are not zero after quantization.
    resources
        Resource usage, as HLS reports it.
    interval, latency
        Cycles between two samples, and from input to output.
    synthesized
        Resource usage after logic synthesis; what is usually left of ``resources`` if it is not given.
    filling
        With ``io_stream``: cycles from the last pixel that arrives to the last result.
    """

    name: str
    kind: str
    strategy: str
    reuse_factor: int
    weights: int
    nonzeros: int
    resources: Resources
    interval: Estimate
    latency: Estimate
    synthesized: Resources = None  # type: ignore[assignment]
    filling: Estimate = field(default_factory=lambda: Estimate.exact(0))

    def __post_init__(self) -> None:
        if self.synthesized is None:
            object.__setattr__(self, "synthesized", after_synthesis(self.resources))


@dataclass(frozen=True)
class ModelEstimate(Printable):
    """A whole model.

    Parameters
    ----------
    layers
        Its layers in the order of the model, but those that use nothing; with ``io_stream`` the FIFOs between
        them last.
    budget
        What it is compared with, if anything.
    target
        What it is built for and with.
    remarks
        What hls4ml would not build as the model says.
    streams
        Whether layers work at the same time, on a stream of pixels.
    pipelined
        Cycles between two samples that hls4ml states for the network as a whole; 0 where it states none.
    """

    layers: tuple[LayerEstimate, ...]
    budget: Budget | None = None
    target: Target = DEFAULT_TARGET
    remarks: tuple[str, ...] = ()
    streams: bool = False
    pipelined: int = 0

    @property
    def family(self) -> str:
        """Whose DSP blocks and memories are counted."""
        return self.target.family

    @property
    def resources(self) -> Resources:
        """Resource usage of all layers together, as HLS reports it."""
        return sum((layer.resources for layer in self.layers), Resources())

    @property
    def synthesized(self) -> Resources:
        """Resource usage of all layers together, after logic synthesis."""
        return sum((layer.synthesized for layer in self.layers), Resources())

    @property
    def compared(self) -> Resources:
        """The usage that is compared with the budget: of the stage that the budget means."""
        after = self.budget is not None and self.budget.stage == LOGIC_SYNTHESIS
        return self.synthesized if after else self.resources

    @property
    def interval(self) -> Estimate:
        """Cycles between two samples: those of the slowest layer; any may turn out to be that.

        Not below what hls4ml states for the network as a whole.
        """
        found = [layer.interval for layer in self.layers] or [Estimate.exact(1)]
        found += [Estimate.exact(self.pipelined)] if self.pipelined else []
        slowest = max(found, key=lambda each: each.value)
        latest = max(found, key=lambda each: each.high)
        if latest.high <= slowest.high:
            return slowest
        notes = joined_notes((slowest.note, latest.note))
        return Estimate(slowest.value, slowest.low, latest.high, notes)

    @property
    def latency(self) -> Estimate:
        """Cycles from input to output.

        Layer after layer; in a stream all layers work at once, so that it is the slowest one's until the last
        pixel arrives, and what all need for that.
        """
        one_by_one = total(layer.latency for layer in self.layers)
        if not self.streams or not self.layers:
            return one_by_one
        slowest = max(self.layers, key=lambda layer: layer.latency.value - layer.filling.value)
        others = total(layer.filling for layer in self.layers if layer is not slowest)
        value = slowest.latency.value + others.value
        high = max(value, slowest.latency.high + others.high, one_by_one.high)
        return Estimate(value, slowest.latency.low, high, one_by_one.note)

    @property
    def latency_ns(self) -> float:
        """Nanoseconds from input to output, of the most likely latency."""
        return self.latency.value * self.target.clock_ns

    @property
    def interval_ns(self) -> float:
        """Nanoseconds between two samples, of the most likely interval."""
        return self.interval.value * self.target.clock_ns

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Latency and initiation interval at the target's clock, beside the budget's deadlines."""
        deadlines = {} if self.budget is None else self.budget.deadlines
        clock, cycles = self.target.clock_ns, {"latency": self.latency, "interval": self.interval}
        return tuple(
            Timing(name, each.value, each.high, clock, deadlines.get(name))
            for name, each in cycles.items()
        )

    def label(self, resource: str) -> str:
        """Return what the family calls a resource."""
        return find_family(self.family).label(resource)

    @property
    def limits(self) -> dict[str, float]:
        """Resource -> what the budget allows of it; empty without one."""
        return self.budget.limits(self.compared.values_only) if self.budget else {}

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Resource or deadline -> whether the design fits the budget; empty without one."""
        used = self.compared
        found = {
            name: compare_with_limit(used[name].value, used[name].high, limit)
            for name, limit in self.limits.items()
        }
        timings = (each for each in self.timings if each.deadline_ns is not None)
        return found | {each.name: each.verdict for each in timings}

    @property
    def verdict(self) -> Verdict:
        """Whether the design fits: the worst of :attr:`verdicts`."""
        return worst_verdict(self.verdicts.values())

    @property
    def fits(self) -> bool:
        """Whether the most likely values are within the budget; True without one."""
        return self.verdict is not Verdict.DOES_NOT_FIT

    @property
    def surely_fits(self) -> bool:
        """Whether the upper ends of the error bars are within the budget too."""
        return self.verdict is Verdict.FITS

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain numbers, strings, lists and dictionaries."""
        return {
            "layers": [_layer_to_dict(layer) for layer in self.layers],
            "total": {name: _range_to_dict(each) for name, each in self.resources.items()},
            "synthesized": {name: _range_to_dict(each) for name, each in self.synthesized.items()},
            "target": asdict(self.target),
            "interval": _range_to_dict(self.interval),
            "latency": _range_to_dict(self.latency),
            "interval_ns": self.interval_ns,
            "latency_ns": self.latency_ns,
            "limits": self.limits,
            "deadlines": {} if self.budget is None else self.budget.deadlines,
            "fits": self.fits,
            "verdict": str(self.verdict),
            "verdicts": {name: str(verdict) for name, verdict in self.verdicts.items()},
            "remarks": list(self.remarks),
        }

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row for each layer.

        Columns are the layer's description and, for each resource, the most likely value and the ends
        of its error bar (``dsp``, ``dsp_low``, ``dsp_high``…).
        """
        import pandas

        rows = []
        for layer in self.layers:
            row: dict[str, Any] = {
                name: getattr(layer, name)
                for name in ("name", "kind", "strategy", "reuse_factor", "weights", "nonzeros")
            }
            timing = {"interval": layer.interval, "latency": layer.latency}
            for name, each in {**layer.resources, **timing}.items():
                row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            rows.append(row)
        return pandas.DataFrame(rows)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of layers as text: its header, and its rows with the total last."""
        used = [
            name for name in resource_names() if self.resources[name].high or name in self.limits
        ]
        header = ["layer", "built with", "weights", "non-zero"]
        header += [self.label(name) for name in used] + ["II", "latency"]
        body = [
            [
                f"{layer.name} ({layer.kind})",
                f"{layer.strategy}, RF {layer.reuse_factor}" if layer.strategy else "",
                f"{layer.weights:,}",
                f"{layer.nonzeros:,}",
                *(str(layer.resources[name]) for name in used),
                str(layer.interval),
                str(layer.latency),
            ]
            for layer in self.layers
        ]
        weights, nonzeros = (
            sum(getattr(x, n) for x in self.layers) for n in ("weights", "nonzeros")
        )
        resources = self.resources
        body.append(
            [
                "total",
                "",
                f"{weights:,}",
                f"{nonzeros:,}",
                *(str(resources[name]) for name in used),
                str(self.interval),
                str(self.latency),
            ]
        )
        return header, body

    def _make_document(self) -> Document:
        lines = []
        synthesized = self.synthesized
        after = [f"{self.label(name)} {synthesized[name]}" for name in ("lut", "ff")]
        lines.append(f"after logic synthesis: {', '.join(after)}")
        timing = ", ".join(f"{each.name} {spell_ns(each.ns)} ns" for each in self.timings)
        lines.append(f"built for: {self.target}; {timing}")
        compared, verdicts = self.compared, self.verdicts
        for name, limit in self.limits.items():
            lines.append(f"{self.label(name)}: {compared[name]} of {limit:,.0f}: {verdicts[name]}")
        lines += [str(each) for each in self.timings if each.deadline_ns is not None]
        lines += [f"note: {note}" for note in (*self.resources.notes, *self.remarks)]
        return Document([TextTable(*self.rows(), names=frozenset((0, 1)), closing=1), *lines])


def _range_to_dict(estimate: Estimate) -> dict[str, Any]:
    return dict(vars(estimate))


def _layer_to_dict(layer: LayerEstimate) -> dict[str, Any]:
    resources = {name: _range_to_dict(each) for name, each in layer.resources.items()}
    synthesized = {name: _range_to_dict(each) for name, each in layer.synthesized.items()}
    timing = {
        name: _range_to_dict(getattr(layer, name)) for name in ("interval", "latency", "filling")
    }
    return {**vars(layer), "resources": resources, "synthesized": synthesized, **timing}
