"""Commands about one model: ``estimate``, ``verify``, ``rtl`` and ``reduce``.

Each imports its parts when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fabricfit.cli.completion import complete_backends, complete_parts
from fabricfit.cli.groups import BudgetOptions, SampleOptions, with_groups
from fabricfit.cli.options import (
    AsJson,
    HlsConfig,
    HlsConfigs,
    ModelFile,
    Plugins,
    Quiet,
    WeightsFile,
    drop_missing,
)
from fabricfit.cli.output import VERIFICATION_CODES, check_new_file, print_json, print_text
from fabricfit.errors import InvalidInputError

__all__ = ["estimate", "reduce", "rtl", "verify"]

_METRIC_SAMPLES = 2**14
"""Samples that the metric is taken of in files which are read block by block."""


@with_groups
def estimate(
    *,
    model: ModelFile,
    weights: WeightsFile = None,
    hls_config: HlsConfigs = None,
    budget: BudgetOptions,
    part: Annotated[
        str | None,
        typer.Option(help="The part, instead of the device's.", autocompletion=complete_parts),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Estimate the resources and the timing of a model on an FPGA, without training or synthesis.

    With several configurations, their estimates stand side by side.
    """
    from fabricfit.cli.budgets import count_exceeded, read_comparison
    from fabricfit.cli.checks import check_model, read_configuration
    from fabricfit.cli.sources import import_plugins

    import_plugins(plugin or ())
    limits, built = read_comparison(budget)
    configs = {path: read_configuration(path) for path in hls_config or ()}
    check_model(model, weights)
    import fabricfit
    from fabricfit.cli.inputs import load_model
    from fabricfit.hls4ml.compared_estimates import ComparedEstimates

    whole = load_model(str(model), weights)
    short = len({path.name for path in configs}) == len(configs)
    found = {
        path.name if short else str(path): fabricfit.estimate(
            whole, config, budget=limits, part=part, **built
        )
        for path, config in (configs or {Path(): None}).items()
    }
    shown = next(iter(found.values())) if len(found) == 1 else ComparedEstimates(found)
    if as_json:
        print_json(shown.to_dict())
    else:
        print_text(str(shown))
    return 4 if all(count_exceeded(each) for each in found.values()) else 0


@with_groups
def verify(
    *,
    model: ModelFile,
    weights: WeightsFile = None,
    hls_config: HlsConfig = None,
    source: SampleOptions,
    samples: Annotated[
        int,
        typer.Option(
            help="Number of samples, a million at most; without --data, they are random.",
            min=1,
            max=1_000_000,
        ),
    ] = 100,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric of the design, on all samples of --data; of large files, on 16,384 of them."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="hls4ml's backend; the configuration's by default.",
            autocompletion=complete_backends,
        ),
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
    from fabricfit.cli.checks import check_data, check_model, read_configuration
    from fabricfit.cli.configuration import parse_data
    from fabricfit.cli.sources import import_plugins
    from fabricfit.hls4ml.config import default_configuration

    import_plugins(plugin or ())
    config = read_configuration(hls_config) or default_configuration()
    check_model(model, weights)
    check_data(data := parse_data(source.section()))
    if metric is not None and data is None:
        raise InvalidInputError("--metric needs --data, samples with targets.")
    import fabricfit
    from fabricfit.cli.inputs import load_data, load_model, take_samples

    X, y = None, None
    if data is not None:
        X, y = take_samples(load_data(data)[1], max(samples, _METRIC_SAMPLES))[:2]
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
        int,
        typer.Option(
            help="Additions in a row between registers; 0 for none but at the ends.", min=0
        ),
    ] = 5,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Write a whole network as synthesizable Verilog, where its products are constants."""
    from fabricfit.cli.checks import check_model, read_configuration
    from fabricfit.cli.sources import import_plugins
    from fabricfit.hls4ml.config import default_configuration

    import_plugins(plugin or ())
    config = read_configuration(hls_config) or default_configuration()
    check_model(model, weights)
    import fabricfit
    from fabricfit.cli.inputs import load_model

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
    from fabricfit.cli.checks import check_model
    from fabricfit.cli.sources import import_plugins

    check_new_file(output, (".keras",))
    import_plugins(plugin or ())
    check_model(model, weights)
    from fabricfit.cli.inputs import load_model
    from fabricfit.loading import serialize_model
    from fabricfit.run.files import write_file
    from fabricfit.surgery.reduction import plan_reduction, reduce_model

    whole = load_model(str(model), weights)
    plan = plan_reduction(whole)
    smaller = reduce_model(whole)
    write_file(output.absolute(), serialize_model(smaller))
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
