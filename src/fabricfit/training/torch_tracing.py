"""Tracing a PyTorch function into the operations that it comes down to."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

__all__ = ["Flat", "Traced", "nested", "tensors_in", "threads"]

logger = logging.getLogger(__name__)

_aten = torch.ops.aten

PARALLEL_WORK = 1e8
"""Multiplications from which a second thread pays for itself."""

_ALIASES = (_aten.detach.default, _aten.alias.default, _aten.lift_fresh_copy.default)
_COPIES = (_aten.clone.default,)
_TAKES_ANY_LAYOUT = (
    _aten.convolution.default,
    _aten.convolution_backward.default,
    _aten.max_pool2d_with_indices.default,
    _aten.avg_pool2d.default,
)


class Flat:
    """A function of nested arguments, as one of the tensors in them.

    Parameters
    ----------
    function
        Takes nested tensors (other leaves are constants of it), and returns such. It must not change its
        arguments.
    arguments
        How they are nested, and how their tensors are shaped.
    """

    parallel = True
    """Whether a second thread pays for itself."""

    draws = True
    """Whether it may draw random numbers."""

    structure: Any = None
    """How the results of the last run were nested."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._leaves, self._nesting = pytree.tree_flatten(arguments)
        self._places = [i for i, leaf in enumerate(self._leaves) if _is_tensor(leaf)]

    def __call__(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Run it on tensors in the order of the arguments' leaves; return the results' leaves."""
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, given, strict=True):
            leaves[place] = tensor
        found = self._function(*pytree.tree_unflatten(leaves, self._nesting))
        results, self.structure = pytree.tree_flatten(found)
        return results

    def traced(self) -> Traced:
        """Return the operations that the function comes down to.

        Raises
        ------
        Exception
            The function depends on its tensors' values, or does what has no counterpart without them.
        """
        tensors = [self._leaves[place] for place in self._places]
        graph = make_fx(self.__call__, tracing_mode="fake")(*tensors)
        _simplify_graph(graph)
        return Traced(graph, self.structure, tensors)


class Traced:
    """A list of operations, see :class:`Flat`.

    Parameters
    ----------
    graph
        The operations.
    structure
        How their results are nested.
    examples
        Tensors to run them on.
    """

    def __init__(
        self, graph: torch.fx.GraphModule, structure: Any, examples: list[torch.Tensor]
    ) -> None:
        self.structure = structure
        self.parallel = _count_multiplications(graph) >= PARALLEL_WORK
        self.draws = any(map(_is_random, graph.graph.nodes))
        self._run = _compile_to_torchscript(graph, examples)

    def __call__(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Run them."""
        with torch.no_grad():
            return list(self._run(*given))


def tensors_in(arguments: Any) -> list[torch.Tensor]:
    """Return the tensors in nested arguments."""
    return [leaf for leaf in pytree.tree_leaves(arguments) if _is_tensor(leaf)]


def nested(results: list[torch.Tensor], program: Flat | Traced) -> Any:
    """Nest results of a program as its function does."""
    return pytree.tree_unflatten(results, program.structure)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


@contextmanager
def threads(parallel: bool) -> Iterator[None]:
    """Run on one thread what is too small to be shared."""
    before = torch.get_num_threads()
    if parallel or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compile_to_torchscript(
    graph: torch.fx.GraphModule, examples: list[torch.Tensor]
) -> Callable[..., Any]:
    """Return the operations of a graph as a TorchScript program, which begins each twice as fast.

    Where PyTorch has no TorchScript any more, or cannot write one of the operations in it, it is the graph.
    So it is where an operation changes tensors in a list: TorchScript would remove the change.
    """
    if any(_changes_list(node) for node in graph.graph.nodes):
        return graph.forward
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.jit.trace(
                lambda *tensors: tuple(graph(*tensors)), tuple(examples), check_trace=False
            )
    except Exception as error:  # whatever TorchScript may not know
        logger.debug("no TorchScript: %s", error)
        return graph.forward


def _is_random(node: torch.fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _changes_list(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema and schema.is_mutable) and not any(
        isinstance(first, torch.fx.Node) for first in node.args[:1]
    )


def _simplify_graph(module: torch.fx.GraphModule) -> None:
    """Leave out what does nothing: aliases, and copies for the sake of a layout that is not needed."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        users = {user.target for user in node.users}
        adds_nothing = node.target is _aten.add.Tensor and node.args[1] == 0
        needless = node.target in _COPIES and users and users <= set(_TAKES_ANY_LAYOUT)
        if node.target in _ALIASES or adds_nothing or needless:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is _aten.view.default:  # of what may have another layout now
            node.target = _aten.reshape.default
    graph.eliminate_dead_code()
    module.recompile()


def _count_multiplications(module: torch.fx.GraphModule) -> float:
    """Count the multiplications of a graph's products."""
    total = 0.0
    for node in module.graph.nodes:
        values = [a.meta.get("val") for a in node.args if isinstance(a, torch.fx.Node)]
        if node.target in (_aten.mm.default, _aten.bmm.default):
            total += math.prod(values[0].shape) * values[1].shape[-1]
        elif node.target is _aten.convolution.default:
            # twice more for the gradients in the inputs and in the kernel
            outputs, kernel = node.meta["val"].shape, values[1].shape
            total += 3.0 * math.prod(outputs) * math.prod(kernel[1:])
    return total
