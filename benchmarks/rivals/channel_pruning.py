"""Torch-Pruning: channels ranked over the whole network, by L1 or L2 norms or by Taylor expansion.

G. Fang et al., "DepGraph: towards any structural pruning", CVPR 2023, arXiv:2301.12900. The settings are its
own: importances normalized by the mean of their group, channels removed in many small steps until the
operations are few enough, as its scripts for images do. A step of Taylor expansion has a backward pass before
it, as its README has, on images that are drawn anew. A tenth of each layer stays, as with fabricfit: with its
default of one channel, Taylor expansion leaves a ResNet8 with two channels at its end. The trained Keras
network becomes a module of PyTorch with the same weights, and their outputs are compared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from torch import nn

from benchmarks.structured_networks import (
    BATCH,
    EPSILON,
    LEAST_RATE,
    MOMENTUM,
    OUTPUT,
    RATE,
    SIDE,
    TABLES,
    check_transcription,
    connect,
    count_operations,
    describe_answers,
    load_images,
    load_weights,
    name_norm,
    read_widths,
    reseed,
)
from benchmarks.task import NoNumberError, Task

__all__ = ["pruning_task"]

_STEPS = 200
_TAYLOR_IMAGES = 256
_LARGEST_RATIO = 0.9

IMPORTANCES = {
    "L1": lambda: tp.importance.MagnitudeImportance(p=1),
    "L2": lambda: tp.importance.MagnitudeImportance(p=2),
    "Taylor": tp.importance.TaylorImportance,
}


def pruning_task(
    kind: str, seed: int, directory: str, part: float, epochs: int, importance: str
) -> Task:
    """Prepare a network whose least important channels are removed.

    Parameters
    ----------
    kind, seed, directory
        Of the trained network.
    part
        Of the operations that is to be left.
    epochs
        Of the training afterwards.
    importance
        Key of :data:`IMPORTANCES`.
    """
    samples = load_images()
    model = _Network(kind, load_weights(kind, seed, directory))
    X, y = _to_torch(samples.X_train), torch.tensor(samples.y_train).long()
    X_test = _to_torch(samples.X_test)
    few = slice(BATCH)
    check_transcription(_predict(model, X_test[few]), samples.X_test[few], kind, seed, directory)

    def work() -> _Network:
        torch.manual_seed(reseed(seed))
        _prune(model, part, importance, X, y)
        _train(model, X, y, epochs)
        return model

    def inspect(model: _Network) -> dict[str, Any]:
        widths = model.read_widths()
        left = count_operations(kind, widths) / count_operations(kind)
        return {**describe_answers(_predict(model, X_test), samples, left), "widths": widths}

    return Task(work, inspect)


class _Network(nn.Module):
    """A network of the benchmark, which returns logits."""

    def __init__(self, kind: str, weights: dict[str, list[np.ndarray]]) -> None:
        super().__init__()
        self.kind, self._ceiling = kind, TABLES[kind].ceiling
        self.kernels, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for each in TABLES[kind].convolutions:
            (kernel,) = weights[each.name]
            channels = weights[name_norm(each.name)][0].size
            self.kernels[each.name] = nn.Conv2d(
                channels if each.depthwise else kernel.shape[2],
                channels,
                each.size,
                each.strides,
                groups=channels if each.depthwise else 1,
                bias=False,
            )
            norm = nn.BatchNorm2d(channels, eps=EPSILON, momentum=1 - MOMENTUM)
            self.norms[each.name] = norm
            axes = (2, 3, 0, 1) if each.depthwise else (3, 2, 0, 1)
            _assign(self.kernels[each.name].weight, kernel.transpose(axes))
            variables = norm.weight, norm.bias, norm.running_mean, norm.running_var
            for variable, value in zip(variables, weights[name_norm(each.name)], strict=True):
                _assign(variable, value)
        kernel, bias = weights[OUTPUT]
        self.out = nn.Linear(*kernel.shape)
        _assign(self.out.weight, kernel.T)
        _assign(self.out.bias, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return connect(self.kind, x, self)

    def convolve(self, name: str, x: torch.Tensor) -> torch.Tensor:
        kernel = self.kernels[name]
        size, strides, side = kernel.kernel_size[0], kernel.stride[0], x.shape[-1]
        missing = max((-(-side // strides) - 1) * strides + size - side, 0)
        before, after = missing // 2, missing - missing // 2
        padded = nn.functional.pad(x, (before, after, before, after)) if missing else x
        return self.norms[name](kernel(padded))

    def rectify(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if self._ceiling is None else x.clamp(0, self._ceiling)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.mean((2, 3)))

    def read_widths(self) -> list[int]:
        sizes = {name: each.out_channels for name, each in self.kernels.items()}
        return read_widths(self.kind, sizes)


def _assign(variable: torch.Tensor, value: np.ndarray) -> None:
    with torch.no_grad():
        variable.copy_(torch.from_numpy(value.copy()))


def _to_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def _predict(model: nn.Module, X: torch.Tensor) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        outputs = [model(each).softmax(1) for each in X.split(500)]
    return torch.cat(outputs).numpy()


def _prune(model: _Network, part: float, importance: str, X: torch.Tensor, y: torch.Tensor) -> None:
    example = torch.zeros(1, 1, SIDE, SIDE)
    model.eval()
    pruner = tp.pruner.MetaPruner(
        model,
        example,
        importance=IMPORTANCES[importance](),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=_LARGEST_RATIO,
        iterative_steps=_STEPS,
        ignored_layers=[model.out],
    )
    limit = part * count_operations(model.kind)
    for _ in range(_STEPS):
        if importance == "Taylor":
            model.zero_grad()
            chosen = torch.randperm(len(y))[:_TAYLOR_IMAGES]
            nn.functional.cross_entropy(model(X[chosen]), y[chosen]).backward()
        pruner.step()
        if count_operations(model.kind, model.read_widths()) <= limit:
            return
    raise NoNumberError("the operations are never few enough")


def _train(model: nn.Module, X: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), RATE, eps=1e-7)
    steps = epochs * -(-len(y) // BATCH)

    def fall(step: int) -> float:
        return LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, fall)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(X[chosen]), y[chosen]).backward()
            optimizer.step()
            schedule.step()
