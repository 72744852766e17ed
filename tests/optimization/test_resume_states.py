"""What is the caller's and changes as a run goes on: callbacks with states, and streams that shuffle."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fabricfit.errors import RunDirectoryError
from tests.common import blobs
from tests.marks import ON_ONE_BACKEND
from tests.optimization.test_resume import Stop, StopError, run, same, settings

pytestmark = ON_ONE_BACKEND

ENOUGH = {"epochs": 6, "search": None}


class Halves(keras.callbacks.Callback):
    """Halves the learning rate after every third epoch that it has seen, in whichever training."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        if self.seen % 3 == 0:
            rate = self.model.optimizer.learning_rate
            rate.assign(0.5 * float(keras.ops.convert_to_numpy(rate)))


class Told(Halves):
    """The same, but for a file that it holds; it tells and is told its state."""

    def __init__(self):
        super().__init__()
        self.file = Path(__file__).open()  # noqa: SIM115 - it stays open on purpose

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = state["seen"]


class Holds(Halves):
    """The same, with something that cannot be read."""

    def __init__(self):
        super().__init__()
        self.file = Path(__file__).open()  # noqa: SIM115 - it stays open on purpose


def plateau():
    keras_own = keras.callbacks
    return [
        keras_own.ReduceLROnPlateau("val_accuracy", mode="max", factor=0.3, patience=1, min_delta=0.02),
        keras_own.EarlyStopping("val_accuracy", patience=2, min_delta=0.01, restore_best_weights=True),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return blobs(256, 8)


@pytest.mark.parametrize("after", [3, 7, 11])
@pytest.mark.parametrize(
    "make", [plateau, lambda: [Halves()], lambda: [Told()]], ids=["keras", "own", "told"]
)
def test_callbacks_go_on_where_they_were(data, make, after, tmp_path):
    if after != 7 and make is not plateau:
        pytest.skip("one moment is enough")
    whole = run(data, settings(tmp_path / "whole", callbacks=make(), **ENOUGH))
    with pytest.raises(StopError):
        run(data, settings(tmp_path / "runs", callbacks=[*make(), Stop(after)], **ENOUGH))
    result = run(data, settings(tmp_path / "runs", callbacks=make(), resume=True, **ENOUGH))
    same(whole, result)
    assert not result.report.remarks


def test_callbacks_that_cannot_be_read_are_told_of(data, tmp_path):
    with pytest.raises(StopError):
        run(data, settings(tmp_path, callbacks=[Holds(), Stop(8)], **ENOUGH))
    options = settings(tmp_path, callbacks=[Holds()], resume=True, **ENOUGH)
    result = run(data, options)
    assert result.directory.name == "run-0001"
    (remark,) = result.report.remarks
    assert "(Holds) hold what cannot be read" in remark and "may differ" in remark


def test_other_callbacks_are_refused(data, tmp_path):
    with pytest.raises(StopError):
        run(data, settings(tmp_path, callbacks=[Halves(), Stop(5)], **ENOUGH))
    (folder,) = tmp_path.iterdir()
    for other in ([], [Told()], [keras.callbacks.LearningRateScheduler(lambda _, rate: rate)]):
        with pytest.raises(RunDirectoryError, match=r"the callbacks\..*only_watches = True"):
            run(data, settings(folder, callbacks=other, resume=True, **ENOUGH))


class Shuffled(keras.utils.PyDataset):
    """Batches in another order in every pass."""

    def __init__(self, X, y):
        super().__init__()
        self.X, self.y, self.draw = X, y, np.random.default_rng(3)
        self.on_epoch_end()

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = self.order[64 * index : 64 * (index + 1)]
        return self.X[rows], self.y[rows]

    def on_epoch_end(self):
        self.order = self.draw.permutation(len(self.X))


def generator(X, y):
    """Return a function whose batches are shuffled by one generator of random numbers for all passes."""
    draw = np.random.default_rng(4)

    def batches():
        order = draw.permutation(len(X))
        for rows in order.reshape(-1, 64):
            yield X[rows], y[rows]

    return batches


@pytest.mark.parametrize("make", [Shuffled, generator], ids=["PyDataset", "function"])
def test_streams_that_shuffle_go_on_where_they_were(data, make, tmp_path):
    from tests.optimization.test_resume import model

    net = model()
    whole = run((make(*data)), settings(tmp_path / "whole", **ENOUGH), start=net, validation=data)
    with pytest.raises(StopError):
        options = settings(tmp_path / "runs", callbacks=[Stop(7)], **ENOUGH)
        run(make(*data), options, validation=data)
    options = settings(tmp_path / "runs", resume=True, **ENOUGH)
    result = run(make(*data), options, validation=data)
    same(whole, result)
    assert not result.report.remarks


def test_a_stream_in_another_order_is_told_of(data, tmp_path):
    stream = Shuffled(*data)
    with pytest.raises(StopError):
        run(stream, settings(tmp_path, callbacks=[Stop(7)], **ENOUGH), validation=data)
    result = run(stream, settings(tmp_path, resume=True, **ENOUGH), validation=data)
    assert any("shuffle themselves otherwise" in each for each in result.report.remarks)


def test_another_stream_is_refused(data, tmp_path):
    def first():
        return iter([(data[0][:128], data[1][:128]), (data[0][128:], data[1][128:])])

    def other():
        return iter([(data[0][:128] + 1, data[1][:128]), (data[0][128:], data[1][128:])])

    result = run(first, settings(tmp_path, epochs=2, search=None), validation=data)
    options = settings(result.directory, epochs=2, search=None, resume=True)
    with pytest.raises(RunDirectoryError, match="differs in: the training data"):
        run(other, options, validation=data)
