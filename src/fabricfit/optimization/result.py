"""Result of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from fabricfit.errors import InvalidInputError, RunDirectoryError, unknown_name
from fabricfit.loading import serialize_model
from fabricfit.optimization.reuse import Start
from fabricfit.optimization.trained_design import ParetoPoint
from fabricfit.reporting.alternatives import SimpleAlternatives
from fabricfit.reporting.performance import Performance
from fabricfit.reporting.records import read_json
from fabricfit.reporting.report import Level, OptimizationReport, is_better
from fabricfit.reporting.summary import summarize
from fabricfit.run import MANIFEST, RunDirectory
from fabricfit.run.files import (
    HLS_CONFIG,
    MODEL,
    PERFORMANCE,
    REPORT,
    REPORT_TEXT,
    SIMPLE_ALTERNATIVES,
    VERIFICATION,
)
from fabricfit.tables import Document, Printable

if TYPE_CHECKING:
    from fabricfit.firmware import RtlDesign, Verification

__all__ = ["OptimizationResult"]


@dataclass(frozen=True)
class OptimizationResult(Printable):
    """Result of a run.

    Parameters
    ----------
    model
        A plain Keras model: the best accepted level, or a copy of the input if none was.
    report
        What was saved, what it cost, what was skipped and why.
    directory
        The run's own folder.
    hls_config
        The configuration to convert the model with, so that hls4ml realizes the savings; None where
        the run was not for a budget.
    start
        What a further run of the same model and data can start from: give the result as ``reuse``.
    """

    model: keras.Model
    report: OptimizationReport
    directory: Path
    hls_config: dict[str, Any] | None = None
    start: Start | None = field(default=None, repr=False, compare=False)

    increasing: bool = True
    """Whether a larger metric is better."""

    metric: Any = field(default=None, repr=False, compare=False)
    """The validation metric, as the settings describe it."""

    networks: tuple[ParetoPoint, ...] = field(default=(), repr=False, compare=False)
    """Networks of the Pareto front of a training of precision, the cheapest first."""

    simple: Callable[..., SimpleAlternatives] | None = field(
        default=None, repr=False, compare=False
    )
    """Sets the result beside simple alternatives; it holds the model and the data of the run."""

    @property
    def history(self) -> tuple[Level, ...]:
        """All levels in the order in which they were tried."""
        return self.report.levels

    @property
    def best(self) -> Level | None:
        """The level that the model is of: the highest that was good; None if none was."""
        good = [level for level in self.history if level.accepted]
        return max(good, key=lambda level: level.sparsity, default=None)

    @property
    def pareto(self) -> tuple[Level, ...] | tuple[ParetoPoint, ...]:
        """The levels that no other one beats in the metric and in every resource.

        Where precision was trained, they are networks: their ``load()`` returns a model.
        """
        if self.networks:
            return self.networks
        trained = [each for each in self.history if each.utilization and each.metric == each.metric]
        sign = 1 if self.increasing else -1
        costs = [(-sign * each.metric, *each.utilization) for each in trained]
        return tuple(
            each
            for each, cost in zip(trained, costs, strict=True)
            if not any(is_better(other, cost) for other in costs)
        )

    @property
    def config(self) -> dict[str, Any]:
        """The run's manifest: settings, goal, versions, seeds, and checksums of model and data."""
        found: dict[str, Any] = read_json(self.directory / MANIFEST)
        return found

    def _make_document(self) -> Document:
        return Document([summarize(self.report, self.model.name, self.directory)])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the summary, and the table of layers."""
        return Document([self._make_document(), self.report._make_document()]).to_html()

    def evaluate(
        self, X: Any, y: Any, weights: Any = None, *, metric: Any = None
    ) -> dict[str, float]:
        """Return what the network that hls4ml builds is worth, bit for bit, and Keras' floats beside it.

        Parameters
        ----------
        X, y, weights
            Samples, targets, and weights of samples, in any structure that Keras accepts.
        metric
            As for :class:`fabricfit.OptimizationSettings`; the run's validation metric by default.

        Returns
        -------
        dict
            Name of a metric -> its value for the quantized network, and ``'float_'`` and that name -> its
            value for the model as Keras computes it.

        Raises
        ------
        InvalidInputError
            The run was not for a budget, so that there is no configuration; or a layer is not emulated.
        MissingExtraError
            hls4ml is not installed.
        """
        from fabricfit.firmware import evaluate

        config = self._require_config("fabricfit.firmware.evaluate")
        chosen = self.metric if metric is None else metric
        return evaluate(self.model, config, X, y, chosen, weights=weights)

    def test(
        self,
        X: Any,
        y: Any,
        weights: Any = None,
        *,
        metric: Any = None,
        classes: Sequence[str] | Mapping[str, Sequence[str]] = (),
    ) -> Performance:
        """Measure the model in floats and quantized on test data, and keep the outcome for the report.

        With standard errors: the metric, and of classifiers each class, ROC curves and the matrix of
        confusion, of others the residuals.

        Parameters
        ----------
        X, y, weights
            Samples that neither training nor validation saw, targets, and weights of samples, in any
            structure that Keras accepts. The quantized network computes all of them bit for bit.
        metric
            As for :class:`fabricfit.OptimizationSettings`; the run's validation metric by default.
        classes
            Names of the classes, or of the numbers that are predicted; of several outputs, those of each by
            the output's name. Their numbers by default.

        Raises
        ------
        InvalidInputError
            X and y do not fit the model.
        """
        from fabricfit.firmware.performance import measure_performance

        chosen = self.metric if metric is None else metric
        found = measure_performance(
            self.model, self.hls_config, X, y, chosen, weights=weights, classes=classes
        )
        RunDirectory.existing(self.directory).write_json(PERFORMANCE, found.to_dict())
        return found

    def compare(self) -> SimpleAlternatives:
        """Set the result beside what is simpler to do for the same budget, and keep that for the report.

        Uniform magnitude pruning, trained for as many epochs as the run, and a larger reuse factor without
        pruning; both by the quantized network's metric on the validation samples. It takes about as long as
        the training of the run.

        Raises
        ------
        InvalidInputError
            The run was not for a budget, or the result does not come from :func:`fabricfit.fit` itself.
        """
        if self.simple is None:
            raise InvalidInputError(
                "only what fabricfit.fit returned can be compared, since a comparison trains the model that "
                "came in, with the run's data, for the run's budget."
            )
        found = self.simple(self.model, self.hls_config, self.report)
        RunDirectory.existing(self.directory).write_json(SIMPLE_ALTERNATIVES, found.to_dict())
        return found

    def verify(self, X: Any = None, **options: Any) -> Verification:
        """Verify the model with hls4ml, and keep the outcome for the report.

        Parameters
        ----------
        X, **options
            As for :func:`fabricfit.verify`.

        Raises
        ------
        InvalidInputError
            The run was not for a budget, so that there is no configuration.
        """
        from fabricfit.firmware import verify

        found = verify(self.model, self._require_config("fabricfit.verify"), X, **options)
        outcome = {
            "outcome": found.outcome.value,
            "passed": found.passed,
            "text": str(found),
            "rtl": None if found.rtl is None else found.rtl.to_dict(),
        }
        RunDirectory.existing(self.directory).write_json(VERIFICATION, outcome)
        return found

    def to_rtl(self, folder: str | os.PathLike[str], **options: Any) -> RtlDesign:
        """Write the whole network as synthesizable Verilog (extra ``adders``).

        Parameters
        ----------
        folder, **options
            As for :func:`fabricfit.to_rtl`.

        Raises
        ------
        InvalidInputError
            The run was not for a budget, so that there is no configuration; or a layer cannot be written as
            a circuit of constants.
        RunDirectoryError
            The folder holds something else.
        """
        from fabricfit.firmware import to_rtl

        return to_rtl(self.model, self._require_config("fabricfit.to_rtl"), folder, **options)

    def to_hls4ml(self, folder: str | os.PathLike[str], **options: Any) -> Any:
        """Write the project of hls4ml that realizes the savings; return hls4ml's own model.

        Parameters
        ----------
        folder
            The project's folder, new or empty.
        **options
            As for :func:`fabricfit.firmware.to_hls4ml`.

        Raises
        ------
        InvalidInputError
            The run was not for a budget, so that there is no configuration.
        RunDirectoryError
            The folder holds something.
        """
        from fabricfit.firmware import to_hls4ml

        config = self._require_config("fabricfit.firmware.to_hls4ml")
        return to_hls4ml(self.model, config, folder, **options)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Save what is needed from here on: the model, hls4ml's configuration, and the report.

        ``model.keras``, ``hls_config.json``, ``report.json`` and ``report.txt``; files of these names in the
        folder are replaced, others are left alone.

        Parameters
        ----------
        folder
            Where they go; made if it is missing.

        Raises
        ------
        RunDirectoryError
            The folder cannot be made.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"cannot make the folder {path}: {error}") from error
        written = RunDirectory.existing(path)
        written.write(MODEL, serialize_model(self.model))
        if self.hls_config is not None:
            written.write_json(HLS_CONFIG, self.hls_config)
        written.write_json(REPORT, self.report.to_dict())
        written.write(REPORT_TEXT, f"{self.report}\n")
        return path

    def _require_config(self, function: str) -> dict[str, Any]:
        if self.hls_config is None:
            raise InvalidInputError(
                "there is no hls4ml configuration, since the run was not for a budget. Use "
                f"{function}(result.model, hls_config, …)."
            )
        return self.hls_config

    def write_report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        test: Any = None,
        classes: Sequence[str] | Mapping[str, Sequence[str]] = (),
        compare: bool = False,
    ) -> Path:
        """Write the run's page: one HTML file that needs no network.

        Parameters
        ----------
        path
            The file; ``report.html`` in the run's folder by default.
        test
            ``(X, y)`` or ``(X, y, weights)``: test data, which :meth:`test` measures first. Without it the
            page shows what was measured last, if anything.
        classes
            As for :meth:`test`.
        compare
            Whether :meth:`compare` sets the result beside simple alternatives first. Without it the page
            shows what was compared last, if anything.

        Raises
        ------
        InvalidInputError
            ``test`` is no pair or triple, or there is nothing to compare.
        """
        from fabricfit.reporting import read_run, write_page

        if test is not None:
            if not isinstance(test, tuple | list) or len(test) not in (2, 3):
                raise InvalidInputError(
                    f"test must be (X, y) or (X, y, weights). Received: {type(test).__name__}"
                )
            self.test(*test, classes=classes)
        if compare:
            self.compare()
        return write_page(read_run(self.directory), None if path is None else Path(path))

    def plot(self, path: str | os.PathLike[str], figure: str = "front") -> Path:
        """Draw a figure of the run.

        Parameters
        ----------
        path
            A ``.png``, ``.svg`` or ``.pdf`` file.
        figure
            ``'front'``: the Pareto front of metric and resources; ``'layers'``: resource usage of each;
            ``'groups'``: treatment of each weight; ``'alternatives'``: the designs that were tried.

        Raises
        ------
        InvalidInputError
            There is no such figure.
        """
        from fabricfit.reporting import read_run
        from fabricfit.reporting.figures import FIGURES, write_figure

        if figure not in FIGURES:
            raise unknown_name("figure", figure, FIGURES)
        finished = read_run(self.directory)
        drawn = FIGURES[figure](finished.report, finished.maps)
        return write_figure(drawn, Path(path))
