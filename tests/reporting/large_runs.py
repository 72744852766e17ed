"""A finished run of a large network: many levels, resources and weights, and names of all sorts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fabricfit.description.timing import Timing
from fabricfit.reporting import FinishedRun
from fabricfit.reporting.alternatives import Alternative, SimpleAlternatives
from fabricfit.reporting.layer_formats import LayerFormats
from fabricfit.reporting.performance import Performance
from fabricfit.reporting.predictions import describe_output
from fabricfit.reporting.report import OptimizationReport
from fabricfit.reporting.report_parts import BuiltLayer, LayerReport, Level
from fabricfit.reporting.statistics import Measured
from fabricfit.run import Status

UNITS = ("DSP", "BRAM18", "URAM", "LUT", "FF", "AIE")
NAMES = ("fc$1_{", "<b>&\n\x07", "a_very_long_name_of_a_layer_without_any_break_in_it/kernel")
SIZES = ((1000, 1000), (300, 700), (64, 32))
SAMPLES = 400


def make_large_run(folder: Path) -> FinishedRun:
    rng = np.random.default_rng(0)
    many = len(UNITS)
    before, after = (1_234_567.0,) * many, (123_456.0,) * many
    levels = [
        Level(n / 40, n % 7 > 0, 0.7 - n / 400, tuple(1e6 - 2e4 * n for _ in UNITS), 12, 3.4)
        for n in range(1, 41)
    ]
    report = OptimizationReport(
        units=UNITS,
        layers=tuple(
            LayerReport(name, "Dense", n * m, n * m, n * m // 3, before, after, "for a reason " * 4)
            for name, (n, m) in zip(NAMES, SIZES, strict=True)
        ),
        resources_before=before,
        resources_after=after,
        metric_name="accuracy",
        metric_before=0.7,
        metric_after=0.68,
        threshold=0.6,
        sparsity=0.9,
        levels=tuple(levels),
        budget=(130_000.0,) * (many - 1) + (100_000.0,),
        highest=(150_000.0,) * many,
        counted="as HLS reports it",
        remarks=("a remark of many words " * 6,),
        timing=(Timing("latency", 40, 50, 5.0, 220.0, 44), Timing("interval", 1, 1, 5.0, None, 1)),
        metric_errors=(0.01, 0.012),
        formats=tuple(LayerFormats(n, ((0, 9), (4, 99)), (("fixed<8,2>", 1),)) for n in NAMES),
        built=tuple(
            BuiltLayer(
                name,
                "Dense",
                "ResourceUnrolled",
                16,
                "fixed<16,6,RND_CONV,SAT>",
                "fixed<24,9>",
                9,
                1,
            )
            for name in NAMES
        ),
        built_for=(("part", "xcvu9p-flga2104-2L-e"), ("clock", "5 ns"), ("tool", "Vitis HLS")),
    )
    return FinishedRun(
        report=report,
        manifest={
            "model": "tagger",
            "seed": 0,
            "begun": 1e9,
            "settings": {"epochs": 9},
            "goal": {},
            "fingerprint": {"the model": "0" * 16},
            "environment": {"backend": "none", "python": "3", "versions": {}},
        },
        status=Status(),
        directory=folder,
        maps={
            n: rng.integers(0, 3, size).astype(np.int8)
            for n, size in zip(NAMES, SIZES, strict=True)
        },
        hls_config={"Model": {"Precision": "fixed<16,6>"}},
        performance=_measure(rng),
        simple=SimpleAlternatives(
            tuple(
                Alternative(name, "as built " * 9, 1.0, 0.6, after, 200.0, 5.0, "may fit", 0.01)
                for name in ("fabricfit", "uniform magnitude pruning")
            ),
            UNITS,
            "accuracy",
            before,
            400,
        ),
    )


def _measure(rng: np.random.Generator) -> Performance:
    labels = rng.integers(0, 10, SAMPLES)
    scores = rng.normal(size=(SAMPLES, 10)) + 2 * np.eye(10)[labels]
    wanted = rng.normal(size=(SAMPLES, 2))
    outputs = (
        describe_output(
            "class$es", labels, [scores, scores.round(1)], None, [f"$c_{n}$" for n in range(10)]
        ),
        describe_output("numbers", wanted, [wanted * 0.9, wanted * 0.8], None, ("x<1>", "y")),
    )
    share = Measured(0.68, 0.02)
    return Performance(SAMPLES, "accuracy", share, share, Measured(0.0, 0.004), outputs)
