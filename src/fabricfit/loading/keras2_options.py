"""Options of layers as Keras 2 wrote them, and what Keras 3 calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CLASSES", "CODE_IN_GRAPH", "RULES", "UNBUILDABLE", "WITHOUT_EFFECT", "OptionError"]

Config = dict[str, Any]


class OptionError(Exception):
    """An option that Keras 3 has nothing for; the caller names the layer."""


CLASSES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
    "ThresholdedReLU": "ReLU",
    **{f"{kind}Pool{n}D": f"{kind}Pooling{n}D" for kind in ("Max", "GlobalMax") for n in (1, 2, 3)},
    **{f"AvgPool{n}D": f"AveragePooling{n}D" for n in (1, 2, 3)},
    **{f"GlobalAvgPool{n}D": f"GlobalAveragePooling{n}D" for n in (1, 2, 3)},
}
"""Name of a layer's class in Keras 2 -> in Keras 3, where they differ."""

_LOCAL = "Keras 3 has no locally connected layers. Build it of other layers, and train it anew"
_FOR_GPUS = (
    "it is one for NVIDIA GPUs. Build the model in Keras 2 (the package tf_keras) with {kind} in its "
    "place, load the weights of this file there, which converts them, and save it again"
)
_QUANTIZED = (
    "TensorFlow Model Optimization quantizes models of Keras 2 only. Use QKeras or HGQ2, or "
    "fabricfit.calibrate on the model in floats"
)

UNBUILDABLE = {
    "LocallyConnected1D": _LOCAL,
    "LocallyConnected2D": _LOCAL,
    "CuDNNGRU": _FOR_GPUS.format(kind="GRU(…, recurrent_activation='sigmoid', reset_after=True)"),
    "CuDNNLSTM": _FOR_GPUS.format(kind="LSTM(…, recurrent_activation='sigmoid')"),
    "QuantizeLayer": _QUANTIZED,
    "QuantizeWrapper": _QUANTIZED,
    "QuantizeWrapperV2": _QUANTIZED,
}
"""Class -> why Keras 3 does not build it, and the way out."""

CODE_IN_GRAPH = (
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
)
"""Classes by which Keras 2 recorded calls of TensorFlow's functions in a graph, beside ``TFOpLambda``."""

WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "groups": (1,),
    "implementation": (0, 1, 2),
    "time_major": (False,),
    "fused": (True, False, None),
    "virtual_batch_size": (None,),
    "causal": (False,),
    "experimental_autocast": (True, False),
    "reset_after": (False,),
    "trainable": (True, False),
}
"""Option -> values at which it changes nothing, so that it is left out where Keras 3 does not have it."""


def _input(config: Config) -> None:
    for name in ("batch_input_shape", "input_shape"):
        if name in config:
            config["batch_shape"] = config.pop(name)


def _batch_normalization(config: Config) -> None:
    axis = config.get("axis", -1)
    if isinstance(axis, list | tuple):
        if len(axis) != 1:
            raise OptionError(
                f"normalizes over the axes {list(axis)}, and Keras 3 over a single one"
            )
        config["axis"] = int(axis[0])
    if config.get("renorm"):
        raise OptionError("renormalizes its batches (renorm=True), which Keras 3 does not")
    for name in ("renorm", "renorm_clipping", "renorm_momentum", "adjustment"):
        config.pop(name, None)


def _leaky_relu(config: Config) -> None:
    if "alpha" in config:
        config["negative_slope"] = config.pop("alpha")


def _thresholded_relu(config: Config) -> None:
    config["threshold"] = config.pop("theta", 1.0)


def _gated(config: Config) -> None:
    config.setdefault("reset_after", False)  # as long as there was no such option


def _embedding(config: Config) -> None:
    config.pop("input_length", None)


def _by_channel(config: Config) -> None:
    for name in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
        config.pop(name, None)  # of the convolution that it derives from, and without effect


def _attention(config: Config) -> None:
    for name in ("query_shape", "key_shape", "value_shape"):
        config.pop(name, None)


RULES: dict[str, Callable[[Config], None]] = {
    "InputLayer": _input,
    "BatchNormalization": _batch_normalization,
    "BatchNormalizationV1": _batch_normalization,
    "BatchNormalizationV2": _batch_normalization,
    "SyncBatchNormalization": _batch_normalization,
    "LeakyReLU": _leaky_relu,
    "ThresholdedReLU": _thresholded_relu,
    "GRU": _gated,
    "GRUCell": _gated,
    "Embedding": _embedding,
    "MultiHeadAttention": _attention,
    "DepthwiseConv1D": _by_channel,
    "DepthwiseConv2D": _by_channel,
    "DepthwiseConvolution2D": _by_channel,
    "SeparableConv1D": _by_channel,
    "SeparableConv2D": _by_channel,
    "SeparableConvolution1D": _by_channel,
    "SeparableConvolution2D": _by_channel,
}
"""Class in Keras 2 -> changes its configuration in place."""
