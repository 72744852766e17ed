"""Files of other frameworks: what is to be done with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from fabricfit.errors import InvalidInputError
from fabricfit.reading import open_archive

__all__ = ["refuse_foreign"]

_SAVE = "Save the model with model.save('….keras') where it was made"
_START = "Start from the Keras model that it was made from"

_TORCH = (
    "a PyTorch model, and fabricfit works on Keras models. Build it of layers of Keras and copy the "
    "weights (the kernel of a Dense layer is the transposed weight of a Linear one, that of a Conv2D "
    "the weight with its axes in the order 2, 3, 1, 0); or convert it with nobuco.pytorch_to_keras and "
    "save the result as .h5, which is read here"
)
_ONNX = (
    f"an ONNX model, and fabricfit works on Keras models. {_START}; or convert it with onnx2tf -oh5, "
    "whose .h5 is read here as far as it has layers of Keras; or build it of layers of Keras and copy "
    "the weights. The quantizers of QONNX are not converted: build them with QKeras or HGQ2"
)
_PICKLE = f"a pickle, and loading it would run the code in it. {_SAVE}"
_CHECKPOINT = (
    "a checkpoint, which has no architecture. Build the model, restore the checkpoint into it and save "
    "it with model.save('….keras')"
)

_FOREIGN = {
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".onnx": _ONNX,
    ".ckpt": _CHECKPOINT,
    ".index": _CHECKPOINT,
    ".tflite": f"a TensorFlow Lite model, which has no layers of Keras. {_START}",
    ".pb": f"a graph of TensorFlow, without layers of Keras. {_START}",
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
}
"""Ending of a file -> what it is, and the way out."""


def refuse_foreign(path: Path, start: bytes) -> None:
    """Refuse a file of another framework, with the way to a Keras model.

    Parameters
    ----------
    path
        The file.
    start
        Its first bytes.

    Raises
    ------
    InvalidInputError
        It is one.
    """
    said = None if path.name == "saved_model.pb" else _FOREIGN.get(path.suffix.lower())
    if said is None and start.startswith(b"PK") and zipfile.is_zipfile(path):
        with open_archive(path) as archive:
            pickled = any(name.endswith("/data.pkl") for name in archive.namelist())
        said = _TORCH if pickled else None
    if said is not None:
        raise InvalidInputError(f"{path} is {said}.")
