"""A layer family: all that fabricfit knows of some layer types, in one record, and the registry of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.skip_reasons import Skip, SkipReason
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.layers.activations import work_of_activation
from fabricfit.layers.calls import Call
from fabricfit.layers.generated_code import GeneratedProduct
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.matrix_form import MatrixForm
from fabricfit.layers.plain_layers import PlainForm
from fabricfit.layers.regularizers import GroupRegularizer
from fabricfit.layers.translation import Translated
from fabricfit.layers.units import Replacement, UnitFlow

__all__ = [
    "LayerFamily",
    "count_positions",
    "families",
    "family_of",
    "family_of_node",
    "family_of_type",
    "find_skip",
    "forget_layer",
    "hands_on",
    "reason_to_skip",
    "register_layer",
    "scale_and_offset_of",
    "shape_at",
    "unit_family",
    "why_units_stay",
]


class LayerFamily(UnitFlow, PlainForm, Translated):
    """What fabricfit knows of layers of some types.

    Subclass it, or one of the families that are nearer to your layer, and register the subclass with
    :func:`register_layer`: :class:`~fabricfit.layers.elementwise.ElementwiseFamily` for a layer that works
    number by number, :class:`~fabricfit.layers.product.ProductFamily` for one that multiplies by a matrix. An
    instance keeps nothing of the layers that it is asked about.

    The defaults are cautious: no kernels, units that stay, nothing that is piecewise linear.
    """

    handles: tuple[type | str, ...] = ()
    """Layer types, matched exactly (a subclass may compute anything), or ``'package.Class'`` where importing
    the package would be too much. HGQ2 ships layers of the names that QKeras uses, so the package counts."""

    regularizer: type[GroupRegularizer] = GroupRegularizer
    """The regularizer class for the kernels."""

    passes_units: bool = False
    """Whether the answers about units hold. Without, all units around the layer stay."""

    piecewise_linear: bool = False
    """Whether results, up to the layer's ``activation``, are piecewise linear in the inputs and in any one
    weight: the Gauss-Newton diagonal is then that of the Hessian, and is computed far faster."""

    final_activation: str | None = None
    """The attribute whose call ends the layer, so that it can belong to the loss behind it: ``'activation'``
    of a layer that multiplies first, ``'call'`` of a layer that is nothing but a function."""

    multiplies: bool = True
    """Whether weights of several axes are matrices that inputs are multiplied by, not tables or factors."""

    folds_normalization: bool = False
    """Whether hls4ml itself folds a batch normalization right behind the layer into its weights."""

    own_work: ElementwiseWork = ElementwiseWork.COMPARE
    """What hardware does for each result beside a matrix product and an ``activation``."""

    hls4ml_nodes: tuple[str, ...] = ()
    """Class names of the nodes of hls4ml's graph that these layers become, where the family knows their
    code: :meth:`generated_products` and :meth:`emulate` are asked about such nodes."""

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the weights that are cut into groups: one kernel for most layers, none by default."""
        return ()

    def refusal(self, layer: Any) -> str:
        """Return why this very layer cannot be optimized, or ``''``."""
        return ""

    def why_precision_stays(self, layer: Any) -> str:
        """Return why bit widths of this very layer, which has kernels, cannot be trained, or ``''``."""
        kernels = self.kernels(layer)
        if self.quantizes(layer):
            return "it quantizes its own weights"
        if not all(kernel.multiplies for kernel in kernels):
            return "nothing is multiplied by its weights"
        single = len(kernels) == 1 and not kernels[0].inner
        if not single and any(kernel.receives is None for kernel in kernels):
            return "it is not known what each of its kernels multiplies"
        return ""

    def matrix_form(self, layer: Any) -> MatrixForm | None:
        """Return how this very layer is a matrix product with its ``activation`` behind it, if it is one."""
        return None

    def function(self, layer: Any) -> Any:
        """Return the function of Keras that the layer ends in, where it has a :attr:`final_activation`."""
        return layer.activation

    def elementwise_work(self, layer: Any) -> ElementwiseWork:
        """Return what hardware does for each result beside a matrix product."""
        return work_of_activation(getattr(layer, "activation", None), self.own_work)

    def scaled_axis(self, layer: Any) -> int | None:
        """Return the axis, counted from the end, for whose entries :meth:`scale_and_offset` has numbers."""
        return None

    def scale_and_offset(self, layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what each unit is multiplied by and what is added to it, where that is all the layer does.

        Shapes (units,), in the float type of the layer's weights; units are on the :meth:`scaled_axis`.
        """
        return None

    def hands_on(self, layer: Any) -> bool:
        """Return whether at inference the layer hands on the very numbers that it receives, in order."""
        return False

    def keeps_grid(self, layer: Any) -> bool:
        """Return whether each result is one of the numbers received, or zero, in the same channel."""
        return self.hands_on(layer)

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        """Return the layer with its results multiplied and shifted, where its weights can do that exactly.

        Parameters
        ----------
        layer
            The layer.
        axis
            The axis of its results that the numbers are for, counted from the end: -1 for the last one.
        scale, offset
            What results are multiplied by, and what is added then, shape (length of the axis,), float64.
        """
        return None

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        """Return the layer for inputs before they are multiplied and shifted, where its weights can do that.

        The parameters are those of :meth:`scaled_results`, for the axis of its only input.
        """
        return None

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        """Return the matrix products in the code that hls4ml wrote for a node; none by default.

        Parameters
        ----------
        node
            A node of hls4ml's graph, of one of :attr:`hls4ml_nodes`.
        structs
            Structures in ``parameters.h``: name -> text.
        """
        return ()

    def emulate(self, node: Any, inputs: list[Any], weights: Any) -> Any:
        """Compute a node's results bit for bit, as the code that hls4ml wrote for it does.

        Parameters
        ----------
        node
            A node of hls4ml's graph, of one of :attr:`hls4ml_nodes`.
        inputs
            :class:`fabricfit.firmware.emulation.FixedTensor` of each input, samples first.
        weights
            The Keras model's weights, quantized: :class:`fabricfit.firmware.emulation.KerasWeights`.

        Returns
        -------
        FixedTensor
            The results. A family that does not override this leaves its nodes to
            :mod:`fabricfit.firmware.emulation`, which computes hls4ml's own node classes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not emulate {node.class_name} nodes")

    @property
    def has_kernels(self) -> bool:
        """Whether layers of this family have weights that are cut into groups."""
        return type(self).kernels is not LayerFamily.kernels


_FAMILIES: dict[type | str, list[LayerFamily]] = {}
"""Layer type -> its families, the latest first, which is the one that counts."""

_NODES: dict[str, list[LayerFamily]] = {}
"""The same for the node classes of hls4ml's graph."""

_Registered = TypeVar("_Registered", bound="LayerFamily | type[LayerFamily]")


def register_layer(family: _Registered) -> _Registered:
    """Make a layer family known; for a type that is known already, the later family wins.

    Parameters
    ----------
    family
        A :class:`LayerFamily`, or a subclass that takes no arguments: use it as a class decorator.

    Returns
    -------
    LayerFamily or type
        What was given.

    Raises
    ------
    InvalidTypeError
        It is no layer family, or an entry of ``handles`` is neither a type nor a text.
    InvalidInputError
        It handles nothing, or a text is not of the form ``'package.Class'``.
    """
    is_class = isinstance(family, type) and issubclass(family, LayerFamily)
    instance: Any = family() if is_class else family  # type: ignore[operator]
    if not isinstance(instance, LayerFamily):
        raise InvalidTypeError(
            "register_layer expects a fabricfit.LayerFamily, a subclass or an instance. "
            f"Received: {spell(family)}"
        )
    for handled in _checked_handles(instance):
        _FAMILIES.setdefault(handled, []).insert(0, instance)
    for node in instance.hls4ml_nodes:
        _NODES.setdefault(node, []).insert(0, instance)
    return family


def forget_layer(family: LayerFamily | type[LayerFamily]) -> None:
    """Undo :func:`register_layer`: the family that was known before counts again."""
    kind = family if isinstance(family, type) else type(family)
    for known in (*_FAMILIES.values(), *_NODES.values()):
        known[:] = [each for each in known if each is not family and type(each) is not kind]


def _checked_handles(family: LayerFamily) -> tuple[type | str, ...]:
    name, handles = type(family).__name__, family.handles
    if not isinstance(handles, tuple) or not all(isinstance(each, type | str) for each in handles):
        raise InvalidTypeError(
            f"{name}.handles must be a tuple of layer types and of texts 'package.Class'. "
            f"Received: {spell(handles)}"
        )
    wrong = [each for each in handles if isinstance(each, str) and each.count(".") != 1]
    if wrong or not handles:
        raise InvalidInputError(
            f"{name}.handles must name at least one layer type, as a class or as 'package.Class'. "
            f"Received: {spell(handles)}"
        )
    return handles


def families() -> tuple[LayerFamily, ...]:
    """Return all registered families."""
    return tuple({id(known[0]): known[0] for known in _FAMILIES.values() if known}.values())


def family_of(layer: Any) -> LayerFamily | None:
    """Return the family of a layer's type, if it is known."""
    return family_of_type(type(layer))


def family_of_type(layer_type: type) -> LayerFamily | None:
    """Return the family of a layer type, if it is known."""
    package = layer_type.__module__.split(".")[0]
    by_type = _FAMILIES.get(layer_type) or _FAMILIES.get(f"{package}.{layer_type.__name__}")
    return by_type[0] if by_type else None


def family_of_node(class_name: str) -> LayerFamily | None:
    """Return the family that knows the code of a node class of hls4ml's graph, if there is one."""
    known = _NODES.get(class_name)
    return known[0] if known else None


def count_positions(call: Call, number: int = 0) -> int:
    """Return how often a call applies a kernel to a sample: once for each position of the results.

    Parameters
    ----------
    call
        A call of a layer that has a kernel.
    number
        Which one of its kernels.
    """
    family = family_of(call.layer)
    assert family is not None
    kernel = family.kernels(call.layer)[number]
    if kernel.positions is not None:
        return kernel.positions
    results = int(np.prod([size or 1 for size in call.output.shape[1:]]))
    return max(results // kernel.axes.n_columns, 1)


def scale_and_offset_of(layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a layer multiplies entries of the last axis by and adds to them, if that is all it does."""
    family = family_of(layer)
    if family is None or family.scaled_axis(layer) != -1:
        return None
    return family.scale_and_offset(layer)


def hands_on(layer: Any) -> bool:
    """Return whether at inference a layer hands on the very numbers that it receives, in order."""
    family = family_of(layer)
    return family is not None and family.hands_on(layer)


def unit_family(layer: Any) -> LayerFamily | None:
    """Return the family of a layer if it is known how units pass through the layer."""
    family = family_of(layer)
    return family if family is not None and family.passes_units else None


def why_units_stay(call: Call) -> str | None:
    """Return why no unit around a call can be removed; ``None`` where some can."""
    family = unit_family(call.layer)
    kind = type(call.layer).__name__
    if family is None:
        if not call.inputs:
            return "they are the model's input"
        return f"{call.name!r} ({kind}) is not known to work unit by unit"
    if len(call.outputs) != 1 or not family.is_plain(call):
        return f"{call.name!r} ({kind}) is called with more than its input tensors"
    if any(tensor.units is None for tensor in (*call.inputs, *call.outputs)):
        return f"the number of units around {call.name!r} is not known"
    if any(tensor.masked for tensor in call.inputs):
        return f"{call.name!r} receives a mask"
    if call.shared and not family.shareable:
        return f"{call.name!r} is applied several times"
    return family.obstacle(call)


def shape_at(layer: Any, side: str) -> tuple[int | None, ...]:
    """Return the shape of a layer's first ``'input'`` or ``'output'``, without the batch axis.

    Of a layer that was called several times, those of the first call; ``()`` where it was not called.
    """
    tensors = _tensors_at(layer, side) or _tensors_at(layer, "output")  # an Input receives nothing
    return tuple(tensors[0].shape[1:]) if tensors else ()


def _tensors_at(layer: Any, side: str) -> list[Any]:
    try:
        return list(keras.tree.flatten(getattr(layer, side)))
    except AttributeError:  # Keras' answer for a layer that was not called
        return []


def reason_to_skip(layer: Any) -> str:
    """Return why a layer with weights cannot be optimized, or ``''`` if it can.

    Every reason names what stands in the way, for the report that the user reads.
    """
    found = find_skip(layer)
    return "" if found is None else found.sentence


def find_skip(layer: Any) -> Skip | None:
    """Return why a layer with weights cannot be optimized, or None if it can."""
    return next(_list_skips(layer), None)


def _list_skips(layer: Any) -> Iterator[Skip]:
    if not layer.weights:
        yield Skip(SkipReason.NO_WEIGHTS, "it has no weights")
    if not layer.trainable:
        yield Skip(SkipReason.FROZEN, "it is frozen (trainable=False)")
    family = family_of(layer)
    if family is None or not family.has_kernels:
        origin = type(layer).__module__.split(".")[0]
        where = "" if origin == "keras" else f" of {origin!r}"
        yield Skip(
            SkipReason.UNKNOWN_LAYER,
            f"{type(layer).__name__}{where} is not a supported layer type; "
            "register_layer() can add it",
        )
        return
    if refusal := family.refusal(layer):
        yield Skip(SkipReason.UNSUPPORTED_LAYER, refusal)
    for kernel in family.kernels(layer):
        if not kernel.variable.trainable:
            yield Skip(SkipReason.FROZEN, "its kernel is frozen (trainable=False)")
        if not np.isfinite(keras.ops.convert_to_numpy(kernel.variable)).all():
            yield Skip(SkipReason.NOT_FINITE, "its kernel holds NaN or infinite weights")
