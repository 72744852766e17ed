"""Models that meet the limits of hls4ml: for each row of the table at least one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

L = keras.layers

__all__ = ["DIFFERING", "EXAMPLES", "STOPPING", "Example"]


@dataclass(frozen=True)
class Example:
    """A layer that meets a limit.

    Parameters
    ----------
    limit
        Name of the row.
    shape
        Shape of a sample; a list for several inputs.
    apply
        Applies the layer to the inputs.
    io_type
        How data are passed.
    settings
        Section 'Model' of the configuration, if it is another one.
    auto
        Whether hls4ml chooses number formats.
    stops
        Whether hls4ml stops when it converts it. Else it builds another function, or code that does not
        compile or run.
    words
        Samples are numbers of words, so many.
    backend
        hls4ml's backend.
    named, typed
        Sections of the configuration by name and by type: what each says beside precision and reuse factor.
    """

    limit: str
    shape: Any
    apply: Callable[..., Any]
    io_type: str = "io_parallel"
    settings: tuple[tuple[str, Any], ...] = ()
    auto: bool = False
    stops: bool = True
    words: int = 0
    backend: str = "Vitis"
    named: tuple[tuple[str, str], ...] = ()
    typed: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """What the example is called."""
        kinds = [type(layer).__name__ for layer in self.model().layers[-2:]]
        kinds += [str(dict(self.settings)["Strategy"])] if self.backend != "Vitis" else []
        kinds += [name for name, _ in (*self.named, *self.typed)]
        return f"{self.limit}-{'-'.join(kinds)}-{self.io_type}"

    def model(self) -> keras.Model:
        """Return a model of it."""
        keras.utils.set_random_seed(0)
        shapes = self.shape if isinstance(self.shape, list) else [self.shape]
        inputs = [
            keras.Input(shape, dtype="int32" if self.words else "float32") for shape in shapes
        ]
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], self.apply(*inputs))
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if not isinstance(layer, keras.layers.Normalization):
                for variable in layer.trainable_variables:
                    variable.assign(np.round(rng.normal(0, 0.5, variable.shape) * 256) / 256)
                for variable in layer.non_trainable_variables:
                    if "moving" in variable.name:
                        variable.assign(rng.uniform(0.5, 2, variable.shape))
        return model

    def samples(self, count: int = 20) -> Any:
        """Return random samples."""
        rng = np.random.default_rng(1)
        shapes = self.shape if isinstance(self.shape, list) else [self.shape]
        if self.words:
            return rng.integers(0, self.words, (count, *shapes[0]))
        found = [rng.normal(size=(count, *(n or 3 for n in shape))) for shape in shapes]
        return found if len(found) > 1 else found[0]

    def config(self, model: keras.Model) -> dict[str, Any]:
        """Return hls4ml's configuration."""
        section = {"Precision": "fixed<24,8>", "ReuseFactor": 1, "Strategy": "Latency"}
        if self.auto:
            import hls4ml

            config = hls4ml.utils.config_from_keras_model(
                model, granularity="name", backend="Vitis", default_precision="fixed<24,8>"
            )
            return {**config, "IOType": self.io_type}
        layers = {"Model": section | dict(self.settings), "IOType": self.io_type}
        for key, stated in (("LayerName", self.named), ("LayerType", self.typed)):
            layers[key] = {name: section | {"Strategy": strategy} for name, strategy in stated}
        return layers | {"Backend": self.backend}


def _nested(x: Any) -> Any:
    return keras.Sequential([keras.Input((6,)), L.Dense(4)])(x)


def _recurrent(kind: str, **options: Any) -> Callable[..., Any]:
    def apply(x: Any) -> Any:
        return keras.tree.flatten(getattr(L, kind)(4, **options)(x))[0]

    return apply


def _einsum(x: Any) -> Any:
    return L.EinsumDense("abc,cd->abd", (5, 3))(x)


_SEQUENCE, _IMAGE = (5, 4), (7, 6, 4)
_BY_GRAPH = "distributed_arithmetic"
_RESOURCE = (("Strategy", "Resource"), ("ReuseFactor", 4))

STOPPING = [
    Example(
        "accelerator strategy", (6,), lambda x: L.Dense(4)(x), backend="VivadoAccelerator",
        settings=(("Strategy", "ResourceUnrolled"), ("ReuseFactor", 2)),
    ),
    Example(
        "accelerator strategy", (6,), lambda x: L.Dense(4)(x), backend="VivadoAccelerator",
        settings=(("Strategy", "distributed_arithmetic"),),
    ),
    Example("graph without a kernel", (6,), lambda x: L.ReLU(name="layer")(x), named=(("layer", _BY_GRAPH),)),
    Example(
        "graph without a kernel", (6,), lambda x: L.Dense(4, activation="softmax")(x),
        typed=(("Softmax", _BY_GRAPH),), io_type="io_stream",
    ),
    Example(
        "graph without a kernel", (6,), lambda x: L.Dense(4, activation="relu", name="layer")(x),
        named=(("layer_relu", _BY_GRAPH),),
    ),
    Example("einsum resource", _SEQUENCE, _einsum, settings=_RESOURCE),
    Example("einsum in a stream", _SEQUENCE, _einsum, io_type="io_stream"),
    Example(
        "accelerator strategy", _SEQUENCE, _recurrent("LSTM"), backend="VivadoAccelerator",
        settings=(("Strategy", "ResourceUnrolled"), ("ReuseFactor", 2)),
    ),
    Example("no converter", (4, 4, 4, 2), lambda x: L.Conv3D(2, 2)(x)),
    Example("no converter", _SEQUENCE, lambda x: L.Conv1DTranspose(2, 3)(x)),
    Example("no converter", (6,), lambda x: L.Lambda(lambda z: 2 * z)(x)),
    Example("no converter", (6,), lambda x: L.RepeatVector(3)(x)),
    Example("no converter", _SEQUENCE, lambda x: L.Masking()(x)),
    Example("no converter", _SEQUENCE, lambda x: L.MultiHeadAttention(2, 3)(x, x)),
    Example("no converter", (6,), lambda x: L.UnitNormalization()(x)),
    Example("operation", [(6,), (6,)], lambda x, y: x + y),
    Example("operation", (6,), lambda x: keras.ops.relu(x)),
    Example("operation", (6,), lambda x: x[:, :3]),
    Example("model inside a model", (6,), _nested),
    Example("wrapped layer", _SEQUENCE, lambda x: L.TimeDistributed(L.Dense(3))(x)),
    Example("scaling", (6,), lambda x: L.Rescaling(0.5, 0.25)(x)),
    Example("scaling", (3,), lambda x: L.Normalization(mean=[0.0, 1, 2], variance=[1.0, 2, 3])(x)),
    Example("noise", (6,), lambda x: L.GaussianNoise(0.5)(x)),
    Example("noise", (6,), lambda x: L.Identity()(x)),
    Example("noise", (6,), lambda x: L.ActivityRegularization()(x)),
    Example("dilation", (9, 4), lambda x: L.Conv1D(3, 3, dilation_rate=2)(x)),
    Example("dilation", _IMAGE, lambda x: L.Conv2D(3, 3, dilation_rate=2)(x)),
    Example("dilation", _IMAGE, lambda x: L.DepthwiseConv2D(3, dilation_rate=2)(x)),
    Example("channels first", _IMAGE, lambda x: L.DepthwiseConv2D(3, data_format="channels_first")(x)),
    Example("separable convolution", (8, 4), lambda x: L.SeparableConv1D(3, 3)(x)),
    Example("separable convolution", _IMAGE, lambda x: L.SeparableConv2D(3, 3)(x)),
    Example("dense on many axes", (2, 2, 3, 4), lambda x: L.Dense(3)(x)),
    Example("layer normalization", _SEQUENCE, lambda x: L.LayerNormalization()(x)),
    Example("layer normalization", (6,), lambda x: L.LayerNormalization()(x)),
    Example("states", _SEQUENCE, _recurrent("LSTM", return_state=True)),
    Example("states", _SEQUENCE, _recurrent("GRU", return_state=True)),
    Example("bidirectional GRU", _SEQUENCE, lambda x: L.Bidirectional(L.GRU(4))(x)),
    Example(
        "bidirectional stream", _SEQUENCE, lambda x: L.Bidirectional(L.LSTM(4))(x), io_type="io_stream"
    ),
    Example("ceiling", (6,), lambda x: L.ReLU(6)(x)),
    Example("threshold and slope", (6,), lambda x: L.ReLU(negative_slope=0.25, threshold=0.5)(x)),
    Example("softmax axes", _SEQUENCE, lambda x: L.Softmax(axis=[1, 2])(x)),
    Example("merged tensors", [(6,)] * 3, lambda *x: L.Add()(list(x))),
    Example("merged tensors", [(6,)] * 3, lambda *x: L.Concatenate()(list(x))),
    Example("dot", [_SEQUENCE] * 2, lambda x, y: L.Dot(axes=2)([x, y])),
    Example(
        "broadcast stream", [(5, 4), (1, 4)], lambda x, y: L.Multiply()([x, y]), io_type="io_stream"
    ),
    Example("pooling of three axes", (4, 4, 4, 2), lambda x: L.MaxPooling3D()(x)),
    Example(
        "mask", (5,), lambda x: L.LSTM(4)(L.Embedding(3, 4, mask_zero=True)(x)), words=3
    ),
    Example("unknown size", (None, None, 1), lambda x: L.Conv2D(4, 3, padding="same")(x)),
    Example("unknown size", (None, 4), _recurrent("LSTM", return_sequences=True)),
]  # fmt: skip
"""hls4ml stops at these."""

DIFFERING = [
    Example("dilation", (9, 4), lambda x: L.Conv1D(3, 3, dilation_rate=2, padding="same")(x)),
    Example("dilation", _IMAGE, lambda x: L.Conv2D(3, 3, dilation_rate=2)(x), io_type="io_stream"),
    Example("groups", _IMAGE, lambda x: L.Conv2D(4, 3, groups=2)(x)),
    Example("channels first", (6, 4), lambda x: L.MaxPooling1D(2, data_format="channels_first")(x)),
    Example("depth multiplier", _IMAGE, lambda x: L.DepthwiseConv2D(3, depth_multiplier=2)(x)),
    Example("depth multiplier", (8, 4), lambda x: L.DepthwiseConv1D(3, depth_multiplier=2)(x)),
    Example("depthwise resource", _IMAGE, lambda x: L.DepthwiseConv2D(3)(x), settings=_RESOURCE),
    Example("normalized axis", (5, 4), lambda x: L.BatchNormalization(axis=1)(x)),
    Example("normalized axis", (4, 4), lambda x: L.BatchNormalization(axis=1)(x), io_type="io_stream"),
    Example(
        "normalized depthwise convolution", _IMAGE,
        lambda x: L.BatchNormalization()(L.DepthwiseConv2D(3)(x)), auto=True,
    ),
    Example("backwards", _SEQUENCE, _recurrent("LSTM", go_backwards=True)),
    Example("backwards", _SEQUENCE, _recurrent("GRU", go_backwards=True), io_type="io_stream"),
    Example(
        "recurrent reuse factor", (5, 3), _recurrent("LSTM"),
        settings=(("Strategy", "Resource"), ("ReuseFactor", 6)),
    ),
    Example(
        "recurrent reuse factor", (5, 4), lambda x: L.Bidirectional(L.LSTM(4))(x),
        settings=(("Strategy", "Resource"), ("ReuseFactor", 3)),
    ),
    Example("reset gate", _SEQUENCE, _recurrent("GRU", reset_after=False)),
    Example("activation", (6,), lambda x: L.Activation("hard_sigmoid")(x)),
    Example("activation", (6,), lambda x: L.Activation("hard_tanh")(x)),
    Example("gates", _SEQUENCE, _recurrent("LSTM", activation="elu")),
    Example("merged directions", _SEQUENCE, lambda x: L.Bidirectional(L.LSTM(4), "sum")(x)),
    Example(
        "softmax axis in a stream", (5, 4), lambda x: L.Softmax(axis=1)(x), io_type="io_stream"
    ),
    Example("broadcast behind", [(4, 4, 3), (4, 4, 1)], lambda x, y: L.Multiply()([x, y])),
    Example("interpolation", (4, 4, 3), lambda x: L.UpSampling2D(2, interpolation="bilinear")(x)),
    Example("embedding on many axes", (2, 3), lambda x: L.Embedding(10, 4)(x), words=10),
    Example("relu6 in a stream", (6,), lambda x: L.Activation("relu6")(x), io_type="io_stream"),
    Example(
        "shared slopes", (5, 4), lambda x: L.PReLU(shared_axes=[1])(x), io_type="io_stream"
    ),
    Example(
        "padded pooling in a stream", (7, 4), lambda x: L.MaxPooling1D(2, padding="same")(x),
        io_type="io_stream",
    ),
    Example("normalized images of three axes", (2, 3, 2, 4), lambda x: L.BatchNormalization()(x)),
    Example("activation", (6,), lambda x: L.Activation("gelu")(x)),
    Example("dot", [(6,)] * 2, lambda x, y: L.Dot(axes=1, normalize=True)([x, y])),
]  # fmt: skip
"""hls4ml converts these, and builds another function, or code that does not compile or stops."""

EXAMPLES = [*STOPPING, *(Example(**{**vars(each), "stops": False}) for each in DIFFERING)]
