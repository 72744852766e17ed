"""Products that hls4ml writes out one by one, compiled as loops over tables of the same indices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

__all__ = ["fold_products"]

_PRODUCT = re.compile(
    r"\s*acc\[(\d+)\] \+= static_cast<typename CONFIG_T::accum_t>\("
    r"CONFIG_T::template product<data_T, typename CONFIG_T::weight_t>::product\("
    r"data\[(\d+)\], weights\[(\d+)\]\)\);\s*"
)
_LEAST_RUN = 4
"""Products after each other that a loop is written for."""

_LOOP = """{{
static const unsigned products[][3] = {{{indices}}};
for (const auto &each : products)
acc[each[0]] += static_cast<typename CONFIG_T::accum_t>(
CONFIG_T::template product<data_T, typename CONFIG_T::weight_t>::product(data[each[1]], weights[each[2]]));
}}"""


def fold_products(code: str) -> str:
    """Return generated code with each run of products as one loop that computes them in the same order.

    A compiler needs minutes to hours for functions of 10,000 products and more, and seconds for tables. Lines
    of any other form stay as they are, so that nothing is computed that the code does not state.

    Parameters
    ----------
    code
        What hls4ml writes into ``nnet_code_gen.h``.
    """
    return "\n".join(_fold_lines(code.splitlines())) + "\n"


def _fold_lines(lines: list[str]) -> Iterator[str]:
    matched = ((line, _PRODUCT.fullmatch(line)) for line in lines)
    for is_product, run in groupby(matched, lambda pair: pair[1] is not None):
        found = list(run)
        if not is_product or len(found) < _LEAST_RUN:
            yield from (line for line, _ in found)
        else:
            rows = (f"{{{','.join(match.groups())}}}" for _, match in found if match is not None)
            yield _LOOP.format(indices=",".join(rows))
