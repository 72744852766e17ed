"""Checks of single values, each written once.

Every public function checks with these what it is given, before it does anything. They are strict: a text is
no number, a number is no flag, and an array is not its only element.
"""

from fabricfit.checks.records import check_types, instance, mapping
from fabricfit.checks.texts import file_path, text
from fabricfit.checks.values import (
    flag,
    fraction,
    number,
    numbers,
    one_of,
    optional_number,
    optional_positive_number,
    optional_whole_number,
    whole_number,
    whole_numbers,
)

__all__ = [
    "check_types",
    "file_path",
    "flag",
    "fraction",
    "instance",
    "mapping",
    "number",
    "numbers",
    "one_of",
    "optional_number",
    "optional_positive_number",
    "optional_whole_number",
    "text",
    "whole_number",
    "whole_numbers",
]
