"""Masks by magnitude in PyTorch: a threshold over all weights, and PyTorch's own pruning."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.task import Task

__all__ = ["magnitude_task"]


def magnitude_task(
    sizes: list[int], way: str, sparsity: float, reuse_factor: int | None = None
) -> Task:
    """Prepare masks of a network of linear layers.

    Parameters
    ----------
    sizes
        Units of the network's layers, inputs first.
    way
        ``'kthvalue'`` or ``'topk'``: how the weights to keep are found; ``'global_unstructured'``
        calls PyTorch's pruning.
    sparsity
        Fraction of the weights to prune.
    reuse_factor
        Number of weights of a group, which is pruned as a whole; None for single weights.
    """
    from benchmarks.masks import kernels

    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
    with torch.no_grad():
        for layer, kernel in zip(model, kernels(sizes), strict=True):
            layer.weight.copy_(torch.from_numpy(kernel.T))

    def work() -> list[torch.Tensor]:
        if way == "global_unstructured":
            return _pruned(model, sparsity)
        with torch.no_grad():
            return _by_magnitude(model, sparsity, reuse_factor, way)

    def inspect(masks: list[torch.Tensor]) -> dict[str, Any]:
        kept = sum(int(torch.count_nonzero(mask)) for mask in masks)
        return {"kept": kept / sum(mask.numel() for mask in masks)}

    return Task(work, inspect)


def _by_magnitude(
    model: nn.Sequential, sparsity: float, reuse_factor: int | None, way: str
) -> list[torch.Tensor]:
    group = reuse_factor or 1
    norms = [layer.weight.abs().reshape(-1, group).sum(dim=1) for layer in model]
    together = torch.cat(norms)
    going = int(sparsity * together.numel())
    if way == "kthvalue":
        keep = together > together.kthvalue(going).values
    else:
        keep = torch.zeros(together.numel(), dtype=torch.bool)
        keep[together.topk(together.numel() - going, sorted=False).indices] = True
    parts = keep.split([len(norm) for norm in norms])
    return [
        part.repeat_interleave(group).reshape(layer.weight.shape).to(layer.weight.dtype)
        for part, layer in zip(parts, model, strict=True)
    ]


def _pruned(model: nn.Sequential, sparsity: float) -> list[torch.Tensor]:
    parameters = [(layer, "weight") for layer in model]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=sparsity)
    return [layer.weight_mask for layer in model]
