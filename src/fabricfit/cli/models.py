"""Commands about one model: ``estimate``, ``verify``, ``rtl`` and ``reduce``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fabricfit.cli.options import (
    AsJson,
    Clock,
    HlsConfig,
    Interval,
    Latency,
    MemoryGib,
    ModelFile,
    Plugins,
    Quiet,
    WeightsFile,
    drop_missing,
)
from fabricfit.cli.output import VERIFICATION_CODES, check_new_file, print_json, print_text

__all__ = ["estimate", "reduce", "rtl", "verify"]

_METRIC_SAMPLES = 2**14
"""Samples that the metric is taken of in files which are read block by block."""


def estimate(
    model: ModelFile,
    weights: WeightsFile = None,
    hls_config: HlsConfig = None,
    device: Annotated[
        str | None, typer.Option(help="Compare with the resources of this board or part.")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Fraction of the device that may be used.")] = 1.0,
    part: Annotated[str | None, typer.Option(help="The part, instead of the device's.")] = None,
    clock: Clock = None,
    latency: Latency = None,
    interval: Interval = None,
    tool: Annotated[
        str | None, typer.Option(help="HLS compiler, such as 'Vitis HLS 2024.1'.")
    ] = None,
    binding: Annotated[
        str | None, typer.Option(help="What products are built from: auto, dsp or fabric.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Estimate the resources and the timing of a model on an FPGA, without training or synthesis."""
    import fabricfit
    from fabricfit.cli.configuration import read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_model
    from fabricfit.description.quantities import parse_clock
    from fabricfit.hardware.budget import Budget

    import_plugins(plugin or ())
    config = read_hls4ml(None if hls_config is None else str(hls_config))
    budget = None
    if device is not None:
        budget = Budget.device(device, fraction, latency=latency, interval=interval)
    elif latency is not None or interval is not None:
        budget = Budget(latency=latency, interval=interval)
    found = fabricfit.estimate(
        load_model(str(model), weights),
        config,
        budget=budget,
        part=part,
        clock_ns=None if clock is None else parse_clock(clock),
        tool=tool,
        binding=binding,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        print_text(str(found))
    return 0 if found.fits else 4


def verify(
    model: ModelFile,
    weights: WeightsFile = None,
    hls_config: HlsConfig = None,
    data: Annotated[
        str | None, typer.Option(help="Samples to compute; random numbers by default.")
    ] = None,
    memory_gib: MemoryGib = None,
    samples: Annotated[int, typer.Option(help="Number of samples.")] = 100,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric of the design, on all samples of --data; of large files, on 16,384 of them."
        ),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="hls4ml's backend; the configuration's by default.")
    ] = None,
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Count multipliers, but do not compile and run.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            help="Seconds for compiling and running, 3,600 by default; of more, only counts."
        ),
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(help="GiB that the compiler and the simulation may take each.")
    ] = None,
    quiet: Quiet = False,
    rtl: Annotated[
        bool,
        typer.Option("--rtl", help="Simulate and synthesize its own Verilog too, with open tools."),
    ] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Verify in the C++ that hls4ml generates how many multipliers a model needs and what it computes."""
    import fabricfit
    from fabricfit.cli.configuration import parse_data, read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_data, load_model, take_samples

    import_plugins(plugin or ())
    config = read_hls4ml(None if hls_config is None else str(hls_config))
    X, y = None, None
    if data is not None:
        validation = load_data(parse_data(data, memory_gib))[1]
        X, y = take_samples(validation, max(samples, _METRIC_SAMPLES))[:2]
    with _tell_of_steps(not (quiet or as_json)):
        found = fabricfit.verify(
            load_model(str(model), weights),
            config,
            X,
            y=y,
            metric=metric,
            backend=backend,
            samples=samples,
            compile=not counts_only,
            **drop_missing(time_limit=time_limit),
            memory_limit=memory_limit,
            rtl=rtl,
        )
    if as_json:
        print_json({**found.to_dict(), "text": str(found)})
    else:
        print_text(str(found))
    return VERIFICATION_CODES[found.outcome]


def rtl(
    model: ModelFile,
    folder: Annotated[Path, typer.Argument(help="The folder to write to, empty or new.")],
    weights: WeightsFile = None,
    hls_config: HlsConfig = None,
    name: Annotated[str, typer.Option(help="Name of the module.")] = "network",
    register_every: Annotated[
        int, typer.Option(help="Additions in a row between registers; 0 for none but at the ends.")
    ] = 5,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Write a whole network as synthesizable Verilog, where its products are constants."""
    import fabricfit
    from fabricfit.cli.configuration import read_hls4ml
    from fabricfit.cli.inputs import import_plugins, load_model

    import_plugins(plugin or ())
    config = read_hls4ml(None if hls_config is None else str(hls_config))
    with _tell_of_steps(True):
        found = fabricfit.to_rtl(
            load_model(str(model), weights),
            config,
            folder,
            name=name,
            register_every=register_every or None,
        )
    if as_json:
        print_json({**found.to_dict(), "folder": str(found.folder)})
    else:
        print_text(str(found))
    return 0


def reduce(
    model: ModelFile,
    output: Annotated[Path, typer.Argument(help="The .keras file to write.")],
    weights: WeightsFile = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Remove all-zero units from a model without changing what it computes."""
    from fabricfit.cli.inputs import import_plugins, load_model
    from fabricfit.run.files import RunDirectory
    from fabricfit.surgery.reduction import plan_reduction, reduce_model

    check_new_file(output, (".keras",))
    import_plugins(plugin or ())
    whole = load_model(str(model), weights)
    plan = plan_reduction(whole)
    smaller = reduce_model(whole)
    RunDirectory.existing(output.absolute().parent).write(output.name, smaller.save)
    if as_json:
        sizes = {
            "parameters_before": whole.count_params(),
            "parameters_after": smaller.count_params(),
        }
        print_json({"removed": dict(plan.removed), "kept": dict(plan.kept), **sizes})
    else:
        print_text(str(plan))
        print_text(
            f"{whole.count_params():,} -> {smaller.count_params():,} parameters, in {output}"
        )
    return 0


def _tell_of_steps(wanted: bool) -> AbstractContextManager[None]:
    """Show what a command is at that takes long, on the standard error stream."""
    from fabricfit.run.progress import show_messages

    return show_messages(logging.getLogger("fabricfit")) if wanted else nullcontext()
