"""Training with PyTorch and nothing else: modules, tensors in memory, the fused Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.epochs import timed_epochs
from benchmarks.rivals.parameters import initial_parameters
from benchmarks.task import Task
from benchmarks.workloads import LEARNING_RATE, WORKLOADS, load_samples

__all__ = ["loop_task"]


def loop_task(name: str, directory: str, warm: int, measured: int) -> Task:
    """Prepare epochs of the loop on one thread and on two; the faster count."""
    samples = load_samples(name, directory)

    def work() -> dict[str, Any]:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            loop, rng = _Loop(name, *samples.train), np.random.default_rng(0)
            how = f"{threads} thread" + "s" * (threads > 1)
            found.append(timed_epochs(lambda one=loop, r=rng: one.epoch(r), warm, measured, how))
        return min(found, key=lambda each: each["epoch_least"])

    return Task(work, dict)


class _Loop:
    def __init__(self, name: str, X: np.ndarray, y: np.ndarray) -> None:
        self._batch = WORKLOADS[name].batch_size
        self._X, self._y = torch.from_numpy(X), torch.from_numpy(y).long()
        if self._X.ndim == 4:
            self._X = self._X.permute(0, 3, 1, 2).contiguous()
        self._model = MODELS[name]()
        with torch.no_grad():
            pairs = zip(self._model.parameters(), initial_parameters(name), strict=True)
            for parameter, value in pairs:
                axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
                parameter.copy_(torch.from_numpy(value.transpose(axes).copy()))
        self._optimizer = torch.optim.Adam(
            self._model.parameters(), LEARNING_RATE, eps=1e-7, fused=True
        )

    def epoch(self, rng: np.random.Generator) -> float:
        """Train on all samples in a random order; return the mean loss."""
        order = torch.from_numpy(rng.permutation(len(self._y)))
        batches = zip(
            self._X[order].split(self._batch), self._y[order].split(self._batch), strict=True
        )
        total = torch.zeros(())
        for X, y in batches:
            self._optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(self._model(X), y)
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(y)
        return float(total) / len(order)


def _jets() -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)),
    )


def _lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


MODELS = {"jets": _jets, "lenet": _lenet}
