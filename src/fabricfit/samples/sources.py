"""Sources that make batches as they go: drawn from, with errors that say whose they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras

from fabricfit.errors import FabricFitError, InvalidInputError, quoted_error, spell

__all__ = ["draw", "is_endless"]


def draw(source: Any, name: str) -> Iterator[Any]:
    """Yield what a source makes in one pass over it.

    Parameters
    ----------
    source
        A ``keras.utils.PyDataset``, any other iterable, or a function without arguments that returns one.
    name
        What to call it in an error: ``'train'`` or ``'val'``.

    Raises
    ------
    InvalidInputError
        The source raises something, which is the cause of the error, or ends the program; or it is a function
        that returns something else.
    """
    batches = _make_batches(source, name)
    for number in itertools.count(1):
        try:
            batch = next(batches)
        except StopIteration:
            return
        except FabricFitError:
            raise
        except (Exception, SystemExit) as error:  # whatever the caller's own code raises
            raise InvalidInputError(
                f"{_call(name)} raised {type(error).__name__} when batch {number} was drawn from it: "
                f"{quoted_error(error)}"
            ) from error
        yield batch


def is_endless(source: Any) -> bool:
    """Tell whether a source says of itself that it never ends."""
    if isinstance(source, itertools.repeat | itertools.cycle | itertools.count):
        return True
    if isinstance(source, keras.utils.PyDataset):
        return source.num_batches is None
    cardinality = getattr(source, "cardinality", None)  # of tf.data
    return callable(cardinality) and int(cardinality()) == -1


def _call(name: str) -> str:
    return f"the {name} data set" if name else "the data set"


def _make_batches(source: Any, name: str) -> Iterator[Any]:
    if isinstance(source, keras.utils.PyDataset):
        for index in range(source.num_batches):
            yield source[index]
        source.on_epoch_end()
    elif hasattr(source, "__iter__"):
        yield from source
    else:
        made = source()
        if not hasattr(made, "__iter__"):
            raise InvalidInputError(
                f"the function that makes {_call(name)} must return an iterator of pairs (X, y). "
                f"Received: {spell(made)}"
            )
        if is_endless(made):
            raise InvalidInputError(
                f"the function that makes {_call(name)} must return an iterator that ends, since an "
                f"epoch is one pass over it. Received: {spell(made)}"
            )
        yield from made
