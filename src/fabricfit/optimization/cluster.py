"""Jobs one after the other in this process, or at the same time on the workers of a Ray cluster."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from fabricfit.checks import optional_whole_number
from fabricfit.errors import require

__all__ = ["Cluster", "LocalCluster", "RayCluster"]

_RETRIES = 4
"""How often a job is done again whose worker was lost."""


class Cluster(ABC):
    """Place where jobs are done; a context manager."""

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def share(self, value: Any) -> Any:
        """Give a value that all jobs use to whoever does them; return its handle."""

    @abstractmethod
    def run(
        self, function: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]
    ) -> list[Any]:
        """Return ``function(shared value, job)`` of every job, in their order."""

    def close(self) -> None:
        """Release what was acquired."""
        return


class LocalCluster(Cluster):
    """Jobs one after the other, in this process."""

    def share(self, value: Any) -> Any:
        """Return the value."""
        return value

    def run(
        self, function: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]
    ) -> list[Any]:
        """Do the jobs."""
        return [function(shared, job) for job in jobs]


class RayCluster(Cluster):
    """The workers of a Ray cluster: the one that this process is connected to, or a new one here.

    Parameters
    ----------
    workers
        Jobs at the same time; as many as there are processors without it.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = optional_whole_number("workers", workers)
        self._ray = require("ray", "ray", "backend='ray'")
        self._workers = workers
        self._started = not self._ray.is_initialized()
        if self._started:
            self._ray.init(
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"env_vars": _copy_environment()},
            )

    def share(self, value: Any) -> Any:
        """Put the value where all workers find it."""
        return self._ray.put(value)

    def run(
        self, function: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]
    ) -> list[Any]:
        """Do the jobs, each in a worker; do those again whose worker was lost."""
        remote = self._ray.remote(num_cpus=1, max_retries=_RETRIES)(function)
        waiting, running, found = list(enumerate(jobs)), dict[Any, int](), dict[int, Any]()
        most = self._workers or len(jobs)
        while waiting or running:
            while waiting and len(running) < most:
                number, job = waiting.pop(0)
                running[remote.remote(shared, job)] = number
            ready, _ = self._ray.wait(list(running), num_returns=1)
            for reference in ready:
                found[running.pop(reference)] = self._ray.get(reference)
        return [found[number] for number in range(len(jobs))]

    def close(self) -> None:
        """Stop the cluster, if it was started here."""
        if self._started:
            self._ray.shutdown()


def _copy_environment() -> dict[str, str]:
    """Return what makes workers compute as this process does, threads included."""
    keras = sys.modules.get("keras")
    found = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1))}
    if keras is not None:
        found["KERAS_BACKEND"] = keras.backend.backend()
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found
