"""The work of pruned kernels, counted at once, against a count weight by weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.hardware.product import CountedKernel, Product


def find_digits(value):
    """Return the signed digits that are not zero, the last one first, as on paper."""
    digits, size = 0, abs(value)
    while size:
        if size % 2:
            digits += 1
            size -= 2 - size % 4  # 1 or -1
        size //= 2
    return digits


def count_by_hand(kernel, product):
    """Return what the fields of the work say of a kernel."""
    rows, columns = kernel.shape
    weights = [int(kernel[row, column]) for column in range(columns) for row in range(rows)]
    reuse = product.reuse_factor
    runs = [weights[start : start + reuse] for start in range(0, len(weights), reuse)]
    distinct = [value for row in kernel.tolist() for value in set(row)]
    hard = [value for value in distinct if find_digits(value) > 2]
    few_bits = [value for value in hard if -8 <= value < 16]
    bits = [place for value in weights for place in range(20) if abs(value) >> place & 1]
    return {
        "multipliers": sum(any(run) for run in runs),
        "nonzeros": sum(value != 0 for value in weights),
        "constants": len(hard) - len(few_bits),
        "adders": sum(find_digits(value) == 2 for value in distinct),
        "digits": sum(map(find_digits, weights)),
        "small": len(few_bits),
        "wide": sum(abs(value).bit_length() + 1 + product.input_width >= 20 for value in hard),
        "hard_digits": sum(map(find_digits, hard)),
        "longest": max(np.count_nonzero(kernel, axis=0)),
        "span": max(bits) - min(bits) + 1 if bits else 0,
    }


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_each_pruning_is_counted_as_a_kernel_of_its_own(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    rows, columns = rng.integers(1, 7, 2)
    kernel = rng.integers(-40, 41, (rows, columns)) * rng.integers(0, 2, (rows, columns))
    ranks = rng.integers(0, 6, kernel.shape)
    counts = data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=4))
    width, reuse = int(rng.integers(8, 17)), int(rng.integers(1, 4))
    product = Product(int(rows), int(columns), 8, width, strategy="resource", reuse_factor=reuse)
    found = CountedKernel.of(kernel).count(product, ranks, counts)
    for count, work in zip(counts, found, strict=True):
        assert vars(work) == count_by_hand(np.where(ranks < count, kernel, 0), product)


def test_a_kernel_of_another_shape_is_refused():
    with pytest.raises(InvalidInputError, match="3 x 2 weights"):
        CountedKernel.of(np.ones((2, 3), int)).count(Product(3, 2, 8))
