"""Networks that lose whole channels: the same ones for every library, their operations, their training.

Each is a table of convolutions and one function that connects them. Channels that can only be removed
together, as those of a sum or of a depthwise convolution and what it reads, are one set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.design_tasks import load_fashion
from benchmarks.task import NoNumberError, Task
from benchmarks.workloads import LOSS, Samples

if TYPE_CHECKING:
    import keras

__all__ = [
    "BATCH",
    "EPSILON",
    "LEAST_RATE",
    "MOMENTUM",
    "OUTPUT",
    "RATE",
    "SIDE",
    "TABLES",
    "Convolution",
    "Maker",
    "build_network",
    "compile_with_cosine",
    "connect",
    "count_operations",
    "describe_answers",
    "load_images",
    "load_network",
    "load_weights",
    "name_file",
    "name_norm",
    "prepare_network",
    "read_widths",
    "reseed",
]

BATCH = 64
RATE, LEAST_RATE = 3e-3, 0.02
"""Adam's learning rate, and the part of it that is left at the end of half a cosine."""

CLASSES, SIDE, OUTPUT = 10, 28, "out"
MOMENTUM, EPSILON = 0.8, 1e-3
_PRETRAINING = 12
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Convolution:
    """A convolution with a batch normalization behind it.

    Parameters
    ----------
    name
        Of its layer.
    size, strides
        Along both axes of the image.
    source
        Number of the set of channels that it reads; None for the image.
    units
        Number of the set of channels that it makes.
    side
        Of the image that it makes.
    depthwise
        Whether each channel has a kernel of its own.
    """

    name: str
    size: int
    strides: int
    source: int | None
    units: int
    side: int
    depthwise: bool = False


@dataclass(frozen=True)
class Table:
    """What a network is made of.

    Parameters
    ----------
    widths
        Channels of each set. The last set is what the classifier reads.
    ceiling
        Of its rectifiers; None without one.
    convolutions
        In the order in which :func:`connect` calls them.
    """

    widths: tuple[int, ...]
    ceiling: float | None
    convolutions: tuple[Convolution, ...]


TABLES = {
    "ResNet8": Table(
        (16, 16, 32, 32, 64, 64),
        None,
        (
            Convolution("stem", 3, 1, None, 0, 28),
            Convolution("first0", 3, 1, 0, 1, 28),
            Convolution("second0", 3, 1, 1, 0, 28),
            Convolution("first1", 3, 2, 0, 2, 14),
            Convolution("second1", 3, 1, 2, 3, 14),
            Convolution("shortcut1", 1, 2, 0, 3, 14),
            Convolution("first2", 3, 2, 3, 4, 7),
            Convolution("second2", 3, 1, 4, 5, 7),
            Convolution("shortcut2", 1, 2, 3, 5, 7),
        ),
    ),
    "MobileNet": Table(
        (16, 32, 64, 64, 128),
        6.0,
        (
            Convolution("stem", 3, 2, None, 0, 14),
            Convolution("depthwise0", 3, 1, 0, 0, 14, True),
            Convolution("pointwise0", 1, 1, 0, 1, 14),
            Convolution("depthwise1", 3, 2, 1, 1, 7, True),
            Convolution("pointwise1", 1, 1, 1, 2, 7),
            Convolution("depthwise2", 3, 1, 2, 2, 7, True),
            Convolution("pointwise2", 1, 1, 2, 3, 7),
            Convolution("depthwise3", 3, 2, 3, 3, 4, True),
            Convolution("pointwise3", 1, 1, 3, 4, 4),
        ),
    ),
}
"""MLPerf Tiny's residual network (Banbury et al., 2021, arXiv:2106.07597), and a small network after
A. Howard et al., 2017, arXiv:1704.04861."""


class Maker(Protocol):
    """Applies layers of a library."""

    def convolve(self, name: str, x: Any) -> Any:
        """Apply a convolution and its normalization."""

    def rectify(self, x: Any) -> Any:
        """Apply a rectifier."""

    def add(self, x: Any, y: Any) -> Any:
        """Return a sum."""

    def classify(self, x: Any) -> Any:
        """Average over the image, and apply the last layer."""


def connect(kind: str, x: Any, make: Maker) -> Any:
    """Return what a network makes of an image."""
    x = make.rectify(make.convolve("stem", x))
    if kind == "MobileNet":
        for number in range(4):
            x = make.rectify(make.convolve(f"depthwise{number}", x))
            x = make.rectify(make.convolve(f"pointwise{number}", x))
        return make.classify(x)
    for number in range(3):
        y = make.rectify(make.convolve(f"first{number}", x))
        y = make.convolve(f"second{number}", y)
        if number:
            x = make.convolve(f"shortcut{number}", x)
        x = make.rectify(make.add(x, y))
    return make.classify(x)


class _KerasLayers:
    """Makes layers of Keras, or of a library with the same ones."""

    def __init__(self, kind: str, widths: Sequence[int], layers: Any) -> None:
        self._known = {each.name: each for each in TABLES[kind].convolutions}
        self._ceiling, self._widths, self._layers = TABLES[kind].ceiling, widths, layers

    def convolve(self, name: str, x: Any) -> Any:
        each, layers = self._known[name], self._layers
        options = {"padding": "same", "use_bias": False, "name": name}
        if each.depthwise:
            x = layers.DepthwiseConv2D(each.size, each.strides, **options)(x)
        else:
            x = layers.Conv2D(self._widths[each.units], each.size, each.strides, **options)(x)
        return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name_norm(name))(
            x
        )

    def rectify(self, x: Any) -> Any:
        return self._layers.ReLU(self._ceiling)(x)

    def add(self, x: Any, y: Any) -> Any:
        return self._layers.Add()([x, y])

    def classify(self, x: Any) -> Any:
        pooled = self._layers.GlobalAveragePooling2D()(x)
        return self._layers.Dense(CLASSES, "softmax", name=OUTPUT)(pooled)


def _import_keras() -> Any:
    import keras

    return keras


def name_norm(convolution: str) -> str:
    """Return the name of the normalization behind a convolution."""
    return f"{convolution}_norm"


def build_network(kind: str, widths: Sequence[int] | None = None, library: Any = None) -> Any:
    """Return an untrained network.

    Parameters
    ----------
    kind
        Key of :data:`TABLES`.
    widths
        Channels of each set; the table's own by default.
    library
        Keras, or a library with the same layers; Keras by default.
    """
    library = library or _import_keras()
    start = library.Input((SIDE, SIDE, 1))
    make = _KerasLayers(kind, widths or TABLES[kind].widths, library.layers)
    return library.Model(start, connect(kind, start, make))


def read_widths(kind: str, sizes: Mapping[str, int]) -> list[int]:
    """Return the channels of each set, of those that each convolution makes."""
    widths: dict[int, int] = {}
    for each in TABLES[kind].convolutions:
        if widths.setdefault(each.units, sizes[each.name]) != sizes[each.name]:
            raise ValueError(f"{each.name} has {sizes[each.name]} channels, others of its set more")
    return [widths[number] for number in range(len(widths))]


def count_operations(
    kind: str, widths: Sequence[int] | None = None, kept: Mapping[str, float] | None = None
) -> float:
    """Return the floating-point operations of one image: two for a weight, one for the last term of a sum.

    Parameters
    ----------
    kind
        Key of :data:`TABLES`.
    widths
        Channels of each set; the table's own by default.
    kept
        Layer -> the part of its weights that are not zero; all, if not given.
    """
    kept, widths = kept or {}, widths or TABLES[kind].widths
    total = CLASSES * (2 * widths[-1] * kept.get(OUTPUT, 1) + 1)
    for each in TABLES[kind].convolutions:
        read = 1 if each.source is None or each.depthwise else widths[each.source]
        weights = each.size**2 * read * kept.get(each.name, 1)
        total += each.side**2 * widths[each.units] * (2 * weights + 1)
    return total


def load_images() -> Samples:
    """Return Fashion-MNIST: few images to train on, as small devices' data sets have."""
    return load_fashion(6_000, 2_000)


def prepare_network(kind: str, seed: int, directory: str) -> Task:
    """Train a network from scratch and save it."""
    import keras

    samples = load_images()

    def work() -> None:
        keras.utils.set_random_seed(seed)
        model = build_network(kind)
        compile_with_cosine(model, _PRETRAINING, len(samples.X_train))
        model.fit(*samples.train, batch_size=BATCH, epochs=_PRETRAINING, verbose=0)
        model.save(name_file(kind, seed, directory))

    return Task(work)


def load_network(kind: str, seed: int, directory: str) -> keras.Model:
    """Return a trained network, not compiled."""
    import keras

    return keras.saving.load_model(name_file(kind, seed, directory), compile=False)


def load_weights(kind: str, seed: int, directory: str) -> dict[str, list[np.ndarray]]:
    """Return the weights of each layer of a trained network, by the layer's name."""
    layers = load_network(kind, seed, directory).layers
    return {layer.name: layer.get_weights() for layer in layers if layer.weights}


def check_transcription(
    found: np.ndarray, images: np.ndarray, kind: str, seed: int, directory: str
) -> None:
    """Refuse a network of another library whose outputs for some images are not the trained network's."""
    expected = load_network(kind, seed, directory).predict(images, verbose=0)
    difference = float(np.abs(found - expected).max())
    if difference > _TOLERANCE:
        raise NoNumberError(f"outputs of the transcribed network differ by {difference:.2g}")


def name_file(kind: str, seed: int, directory: str) -> Path:
    """Return where a trained network is saved."""
    return Path(directory) / f"structured-{kind}-{seed}.keras"


def compile_with_cosine(model: Any, epochs: int, images: int, library: Any = None) -> None:
    """Compile a network with Adam, whose rate falls from step to step along half a cosine."""
    library = library or _import_keras()
    steps = epochs * -(-images // BATCH)
    rate = library.optimizers.schedules.CosineDecay(RATE, steps, alpha=LEAST_RATE)
    model.compile(library.optimizers.Adam(rate), LOSS)


def reseed(seed: int) -> int:
    """Return the seed of what is done to a network that was trained with a seed."""
    return 100 + seed


def describe_answers(probabilities: np.ndarray, samples: Samples, flops: float) -> dict[str, Any]:
    """Return the figures of a result.

    Parameters
    ----------
    probabilities
        Its outputs for the test images.
    samples
        The images.
    flops
        Operations left, in parts of those before.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != samples.y_test)
    return {"flops": flops, "error_rate": len(wrong) / len(samples.y_test), "wrong": wrong.tolist()}
