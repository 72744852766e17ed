"""What the header of an array says that NumPy stored, without reading the array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fabricfit.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ArrayHeader", "read_header"]


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of a stored array.

    Parameters
    ----------
    shape, dtype
        Of the array.
    order
        ``'C'``, or ``'F'`` where its first axis changes fastest.
    size
        Bytes of the header itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    order: Literal["C", "F"]
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array's numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: Any, size: int, name: str) -> ArrayHeader:
    """Return what the header of a stored array says, and leave the stream behind it.

    Parameters
    ----------
    stream
        The file, at its beginning.
    size
        Bytes of the whole file, which the array must fill.
    name
        What it is called in messages.

    Raises
    ------
    InvalidInputError
        It is no array of NumPy, or not as large as it says.
    """
    import numpy as np  # commands that read no array answer without it

    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, in_columns, dtype = read(stream)
    except Exception as error:  # whatever a damaged file provokes
        raise InvalidInputError(f"{name} is no array of NumPy: {error}") from error
    found = ArrayHeader(shape, dtype, "F" if in_columns else "C", stream.tell())
    if any(each < 0 for each in shape):
        raise InvalidInputError(f"{name} must have a shape. Received: {shape}")
    if not dtype.hasobject and found.size + found.nbytes != size:
        raise InvalidInputError(
            f"{name} says that it is {dtype} of shape {shape}, {found.nbytes:,} bytes, and has "
            f"{max(size - found.size, 0):,}."
        )
    return found
