"""Samples that stay in their files: each comes once, and few are in memory at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelMetric
from fabricfit.samples import Column, Data, Joined, Stored, open_data, samples_in, stored
from fabricfit.training import make_engine
from tests.common import blobs, mlp, weights_of

pytestmark = pytest.mark.keras


class Spied(Column):
    """An array that tells what was read of it."""

    def __init__(self, array, edges=None):
        super().__init__("an array", array.shape, array.dtype, edges)
        self.array, self.reads = array, []

    def read(self, start, stop):
        self.reads.append(stop - start)
        return self.array[start:stop]


def _numbered(samples, edges=None):
    """Samples that are their own numbers, 16 bytes each."""
    X = np.repeat(np.arange(samples, dtype="float32")[:, None], 2, axis=1)
    return Stored((Spied(X, edges), Spied(np.arange(samples))))


def _small_memory(monkeypatch, block, buffer):
    monkeypatch.setattr(stored, "_BLOCK_BYTES", block)
    monkeypatch.setattr(stored, "_BUFFER_BYTES", buffer)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(2, 400),
    block=st.integers(1, 40),
    mixed=st.integers(1, 6),
    batch=st.integers(1, 50),
    fraction=st.floats(0.05, 0.95),
    chunk=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_each_sample_comes_once(samples, block, mixed, batch, fraction, chunk, seed):
    with pytest.MonkeyPatch.context() as patch:
        _small_memory(patch, 16 * block, 16 * block * mixed)
        edges = range(0, samples, chunk)
        data = _numbered(samples, edges if seed % 2 else np.array(edges))
        found = []
        for side in data.split(fraction):
            own = []
            for order in (None, side.order(np.random.default_rng(seed))):
                sizes, numbers = [], []
                for X, y in side.batches(batch, order):
                    np.testing.assert_array_equal(X[:, 0], y.labels[0])
                    sizes.append(len(X))
                    numbers.extend(y.labels[0].tolist())
                assert all(size == batch for size in sizes[:-1])
                assert len(numbers) == len(side) == side.size
                own.append(numbers)
            assert sorted(own[1]) == own[0]
            found += own[0]
            few = side.head(7) if len(side) else None
            assert few is None or set(few.y.labels[0]) <= set(own[0])
            assert few is None or len(few) == min(7, len(side))
        assert sorted(found) == list(range(samples))
        assert len(data.split(fraction)[1]) == round(samples * fraction)
        longest = max(block + chunk, chunk)
        assert max(max(each.reads) for each in data.columns) <= longest


def test_an_epoch_holds_few_samples_and_mixes_them(monkeypatch):
    _small_memory(monkeypatch, 16 * 10, 16 * 100)
    data = _numbered(5000)
    rng = np.random.default_rng(0)
    orders = [data.order(rng) for _ in range(2)]
    assert len(orders[0]) == 501  # a seed and the blocks, not the samples
    epochs = []
    for order in (*orders, orders[0]):
        batches = [y.labels[0] for _, y in data.batches(100, order)]
        epochs.append(np.concatenate(batches))
        assert all(len(np.unique(batch // 10)) > 5 for batch in batches)
    np.testing.assert_array_equal(epochs[0], epochs[2])
    assert (epochs[0] != epochs[1]).mean() > 0.99
    assert max(data.columns[0].reads) == 10


def test_few_samples_come_from_all_places(monkeypatch):
    data = _numbered(200_000)
    (numbers,) = data.head(1000).y.labels
    assert len(numbers) == len(np.unique(numbers)) == 1000
    assert numbers[0] < 200 and numbers[-1] > 190_000
    np.testing.assert_array_equal(data.spread(10**9)[1], np.arange(200_000))
    monkeypatch.setattr(stored, "_HELD_BYTES", 16 * 300)
    assert len(data.arrays(200)) == 200 and len(data.arrays(10**9)) == 300


def test_training_from_files_is_that_from_memory():
    X, y = blobs(100)
    results = []
    for dataset in (Data(X, y), Stored((Spied(X.astype("float64")), Spied(y)))):
        engine = make_engine(mlp(), "sparse_categorical_crossentropy", "adam")
        rng = np.random.default_rng(1)
        losses = [engine.train_epoch(dataset, dataset.order(rng), 32) for _ in range(2)]
        metric = engine.evaluate(dataset, ModelMetric("accuracy"))
        results.append((losses, metric, weights_of(engine.model)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    assert results[0][1] == pytest.approx(results[1][1])
    for a, b in zip(results[0][2], results[1][2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_split_of_a_single_block_is_that_of_arrays():
    order = np.random.default_rng(0).permutation(50)
    kept, aside = (
        np.concatenate([y.labels[0] for _, y in side.batches(50)])
        for side in _numbered(50).split(0.2)
    )
    np.testing.assert_array_equal(aside, np.sort(order[:10]))
    np.testing.assert_array_equal(kept, np.sort(order[10:]))


def test_files_follow_each_other_and_the_first_is_taken_first():
    first, second = _numbered(10), _numbered(20)
    joined = open_data(Joined((first, second)), "")
    numbers = np.concatenate([y.labels[0] for _, y in joined.batches(7)])
    np.testing.assert_array_equal(numbers, [*range(10), *range(20)])
    assert joined.size == 30 and joined.order(np.random.default_rng(0)) is None
    assert len(joined.head(12)) == 12 and len(joined.head(5)) == 5
    np.testing.assert_array_equal(joined.head(12).y.labels[0][:10], np.arange(10))
    alone = Joined((first.without_targets(),))
    assert joined.has_targets and not alone.has_targets
    assert samples_in(next(alone.batches(4))[0]) == 4


def test_what_cannot_be_worked_with_is_named_when_it_is_read():
    X, y = np.ones((30, 2), "float32"), np.zeros(30)
    X[7, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"an array, samples 0 to 29, must not hold NaN"):
        list(Stored((Spied(X), Spied(y))).batches(10))
    with pytest.raises(InvalidInputError, match="which must not be negative"):
        list(Stored((Spied(X[:5]), Spied(y[:5]), Spied(y[:5] - 1))).batches(10))
    with pytest.raises(InvalidInputError, match=r"an array \(30\), an array \(29\)"):
        Stored((Spied(X), Spied(y[:-1])))
    with pytest.raises(InvalidInputError, match="at least one"):
        Stored((Spied(X[:0]), Spied(y[:0])))
