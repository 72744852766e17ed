"""Files that others wrote, read at a bounded price: texts, archives, HDF5 and arrays of NumPy.

A few bytes can stand for very much: aliases that grow when they are followed, brackets in brackets, integers
without end, archives that unpack to terabytes, pipes that never end. Sizes are checked before anything is
read, each name is there once, and no other file is opened than the one that was named.
"""

from fabricfit.reading.archives import check_archive, check_member, open_archive, read_member
from fabricfit.reading.files import (
    ARCHITECTURE,
    CONFIGURATION,
    LARGE_CONFIGURATION,
    RECORD,
    is_there,
    read_bytes,
    read_text,
    require_regular,
)
from fabricfit.reading.hdf5 import check_datasets, open_dataset
from fabricfit.reading.hdf5_heaps import check_heaps
from fabricfit.reading.json_text import parse_json
from fabricfit.reading.limits import DEPTH, VALUES
from fabricfit.reading.numpy_header import ArrayHeader, read_header
from fabricfit.reading.toml_text import parse_toml
from fabricfit.reading.yaml_text import Lines, parse_yaml, plain_loader

__all__ = [
    "ARCHITECTURE",
    "CONFIGURATION",
    "DEPTH",
    "LARGE_CONFIGURATION",
    "RECORD",
    "VALUES",
    "ArrayHeader",
    "Lines",
    "check_archive",
    "check_datasets",
    "check_heaps",
    "check_member",
    "is_there",
    "open_archive",
    "open_dataset",
    "parse_json",
    "parse_toml",
    "parse_yaml",
    "plain_loader",
    "read_bytes",
    "read_header",
    "read_member",
    "read_text",
    "require_regular",
]
