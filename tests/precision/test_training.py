"""Training along a path of costs: steering, the Pareto front, and a training that is interrupted."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelMetric
from fabricfit.network.reader import read
from fabricfit.precision import training
from fabricfit.precision.cost import estimate_costs, estimate_luts
from fabricfit.precision.front import Front
from fabricfit.precision.model import build_precision_model
from fabricfit.precision.start import start_bits
from fabricfit.precision.steering import (
    CostPath,
    RateCycles,
    first_price,
    highest_price,
    next_price,
    plan_cycles,
    plan_path,
)
from fabricfit.precision.training import PrecisionTraining, train_precision
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L, weights_of

pytestmark = pytest.mark.keras


def test_the_cost_falls_by_equal_factors_from_its_start_to_its_end():
    path = CostPath(1000, 10, epochs=100, before=0.1, after=0.2)
    targets = [path.target(epoch) for epoch in range(100)]
    np.testing.assert_allclose(targets[:11], 1000)
    np.testing.assert_allclose(targets[80:], 10)
    factors = np.divide(targets[11:80], targets[10:79])
    np.testing.assert_allclose(factors, factors[0])


@pytest.mark.parametrize(
    "options",
    [{"start": 10, "end": 20}, {"end": 0}, {"epochs": 0}, {"before": 0.6, "after": 0.4}],
)
def test_paths_that_lead_nowhere_are_refused(options):
    with pytest.raises(InvalidInputError):
        CostPath(**{"start": 100.0, "end": 10.0, "epochs": 5, **options})


@given(st.floats(1e-8, 1e-2), st.floats(1, 1e6), st.floats(1, 1e6))
def test_the_price_rises_where_the_cost_is_too_high(price, cost, target):
    found = next_price(price, cost, target)
    assert (found > price) == (cost > target) or cost == pytest.approx(target)
    assert 0.8 < found / price < 1.25
    assert (next_price(price, cost, target, 50) > found) == (found > price)
    assert next_price(price, cost, target, fell=0.1) == found  # long enough to follow by itself
    assert next_price(price, cost, target, 50, fell=0.1) <= next_price(price, cost, target, 50)
    assert next_price(price, cost, target, 50, fell=-0.1) >= next_price(price, cost, target, 50)


@given(st.floats(0.01, 10), st.floats(1, 1e7))
def test_a_price_is_below_what_a_network_of_nothing_saves(loss, bits):
    assert highest_price(loss, bits) * bits == pytest.approx(loss)
    assert first_price(loss, bits) < highest_price(loss, bits)


@given(
    st.integers(1, 1000), st.floats(10, 1e6), st.floats(1, 1e6), st.integers(1, 500), st.booleans()
)
def test_a_plan_has_whole_cycles_and_ends_at_its_cost(epochs, start, end, steps, level):
    rates = plan_cycles(epochs, 1e-3, steps)
    cycles = -(-epochs // rates.length)
    assert 1 <= rates.length <= epochs and (cycles - 1) * rates.length < epochs
    assert rates.rate(0) == pytest.approx(5e-3) and rates.low == pytest.approx(5e-4)
    assert rates.length <= 50 or epochs < 100
    path = plan_path(start, end, epochs, rates.length, level=level)
    costs = [path.target(epoch) for epoch in range(epochs)]
    assert costs[0] == pytest.approx(max(start, end)) and costs == sorted(costs, reverse=True)
    assert path.is_level(epochs - 1) or not level or epochs < 4
    assert not level or path.after <= 0.5
    if level and epochs > 10:
        assert costs[-1] == pytest.approx(end)


def test_rates_fall_in_each_cycle_and_begin_anew():
    rates = [RateCycles(10, 1.0, 0.1).rate(epoch) for epoch in range(20)]
    assert rates[0] == rates[10] == 1.0 and rates[:10] == sorted(rates[:10], reverse=True)
    assert 0.1 < rates[9] < 0.15


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12), st.booleans())
def test_the_front_holds_what_no_other_point_beats(offered, increasing):
    front = Front(increasing)
    for epoch, (metric, cost) in enumerate(offered):
        front.offer(metric, cost, epoch, list)
    sign = 1 if increasing else -1
    best = {
        (metric, cost)
        for metric, cost in offered
        if not any(
            (sign * m >= sign * metric and c <= cost) and (m, c) != (metric, cost)
            for m, c in offered
        )
    }
    assert {(point.metric, point.cost) for point in front} == best
    assert len(front) == len(best)
    costs = [point.cost for point in front]
    assert costs == sorted(costs)
    within = [point.metric for point in front.within(3)]
    assert within == sorted(within, reverse=increasing)


def prepared(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(12, "relu", name="a"), L.Dense(3, name="b")]
    )
    made = build_precision_model(read(model))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return made, make_engine(made.model, loss, keras.optimizers.Adam(0.005))


def samples(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(640, 6)).astype("float32")
    y = (X @ rng.normal(size=(6, 3))).argmax(1).astype("int32")
    return Data(X[:512], y[:512]), Data(X[512:], y[512:])


def trained(made, engine, checkpointer=None, epochs=60, end=60.0, count=None, callbacks=()):
    data, validation = samples()
    settings = PrecisionTraining(
        CostPath(2000.0, end, epochs, after=0.2), RateCycles(20), batch_size=64, first_kept=4
    )
    return train_precision(
        made,
        engine,
        data,
        validation,
        ModelMetric(keras.metrics.SparseCategoricalAccuracy()),
        settings,
        increasing=True,
        rng=np.random.default_rng(0),
        count=count,
        callbacks=callbacks,
        checkpointer=checkpointer,
    )


def test_the_cost_comes_to_its_end_and_the_front_reaches_from_good_to_cheap():
    made, engine = prepared()
    front = trained(made, engine, epochs=240)
    assert estimate_luts(made) < 1.5 * 60
    points = list(front)
    assert points[-1].metric > 0.85 and points[-1].cost > 4 * points[0].cost
    engine.set_weights(points[-1].weights)
    _, validation = samples()
    metric = ModelMetric(keras.metrics.SparseCategoricalAccuracy())
    assert engine.evaluate(validation, metric) == pytest.approx(points[-1].metric)
    assert estimate_luts(made) == pytest.approx(points[-1].cost)


def test_costs_are_those_of_digits_times_widths():
    made, engine = prepared()
    trained(made, engine, epochs=3, end=500.0)
    for name, cost in estimate_costs(made).items():
        wrapper = made.weights[name]
        widths = keras.ops.convert_to_numpy(wrapper.source.widths)
        total = digits = bits = 0
        for (row, _), m in np.ndenumerate(wrapper.integers()[0]):
            m = abs(int(m))
            found = bin(m ^ (3 * m)).count("1")
            digits += found
            total += found * widths[row]
            bits += m.bit_length() * widths[row]
        assert cost.luts == pytest.approx(1.09 * total) and cost.digits == digits
        assert cost.bits == pytest.approx(bits)
        assert cost.nonzeros == np.count_nonzero(wrapper.integers()[0])


class Recorder:
    """Stands for a checkpointer: saves after every epoch, and stops the training at one."""

    def __init__(self, state=None, stop=None):
        self.state, self.stop, self.saved, self.is_due = state, stop, None, True

    def mark(self, kind, **values):
        self.epoch = values["epoch"]

    def save(self, state):
        self.saved = state
        if self.epoch == self.stop:
            raise KeyboardInterrupt

    def restore_attached(self):
        """There are no callbacks whose states come back."""


def test_a_training_that_goes_on_is_the_unbroken_one_bit_for_bit(tmp_path):
    from fabricfit.run.checkpoints import load_state, save_state

    unbroken, engine = prepared()
    expected = trained(unbroken, engine, epochs=12)
    broken, engine = prepared()
    recorder = Recorder(stop=6)
    with pytest.raises(KeyboardInterrupt):
        trained(broken, engine, recorder, epochs=12)
    save_state(tmp_path / "state.npz", recorder.saved)
    resumed, engine = prepared(seed=5)
    found = trained(resumed, engine, Recorder(load_state(tmp_path / "state.npz")), epochs=12)
    for ours, theirs in zip(weights_of(resumed.model), weights_of(unbroken.model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [(p.metric, p.cost, p.epoch) for p in found] == [
        (p.metric, p.cost, p.epoch) for p in expected
    ]


def test_bits_start_where_weights_and_tensors_are():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,), name="x"), L.Dense(12, "relu", name="a"), L.Dense(3, name="b")]
    )
    model.get_layer("a").kernel.assign(model.get_layer("a").kernel / 100)
    made = build_precision_model(read(model), by_channel=True)
    X = np.random.default_rng(0).normal(size=(300, 6)).astype("float32") * 16
    start_bits(made, [X])
    for name, wrapper in made.weights.items():
        spread = np.std(keras.ops.convert_to_numpy(model.get_layer(name).kernel))
        expected = np.round(2 - np.log2(spread))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(wrapper.bits[0]), expected)
    hidden = np.maximum(X @ keras.ops.convert_to_numpy(model.get_layer("a").kernel), 0)
    for name, numbers in (("x_format", X), ("a_format", hidden)):
        bits = keras.ops.convert_to_numpy(made.model.get_layer(name).bits)
        size = np.sqrt(np.mean(numbers**2))
        np.testing.assert_array_equal(bits, np.round(3 - np.log2(size)))


def test_estimates_are_brought_to_what_is_counted_where_the_path_is_level(monkeypatch):
    made, engine = prepared()
    steered, estimated, counted = [], [], []

    def record(price, cost, target, epochs, fell):
        steered.append(cost)
        estimated.append(estimate_luts(made))
        return next_price(price, cost, target, epochs, fell=fell)

    def count():
        counted.append(len(steered))
        return 2 * estimate_luts(made)

    monkeypatch.setattr(training, "next_price", record)
    trained(made, engine, epochs=60, count=count)  # cycles of 20 epochs, level from the 49th on
    assert not counted  # the cycle that ends then is the last one
    trained(
        made, engine, epochs=100, count=count
    )  # the 80th ends a cycle, and the level part is begun
    ratios = np.divide(steered[59:], estimated[59:])
    np.testing.assert_allclose(ratios[:79], 1.0)
    np.testing.assert_allclose(ratios[79:], 2.0)


def test_an_epoch_that_is_undone_goes_back_to_where_a_resumed_training_was_left(monkeypatch):
    made, engine = prepared()
    front = trained(made, engine, epochs=8)
    state = training._State(epoch=7, price=1e-6, cost=500.0, loss=1.0, first_loss=1.0)
    left = training._pack_state(engine, np.random.default_rng(0), front, state)
    again, fresh = prepared(seed=1)
    monkeypatch.setattr(training, "_is_alive", lambda *_: False)
    saved = []
    known = Recorder(left)
    known.is_due, known.save = False, saved.append
    trained(again, fresh, known, epochs=8)
    for ours, theirs in zip(saved[-1]["weights"], left["weights"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_callbacks_see_every_epoch_and_may_end_the_training():
    seen = []

    class Watcher(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            seen.append((epoch, rate, sorted(logs)))
            self.model.stop_training = epoch == 9

    made, engine = prepared()
    front = trained(made, engine, epochs=20, callbacks=[Watcher()])
    assert [epoch for epoch, *_ in seen] == list(range(10))
    rates = RateCycles(20)
    np.testing.assert_allclose(
        [rate for _, rate, _ in seen], [rates.rate(e) for e in range(10)], 1e-5
    )
    assert seen[0][2] == ["loss", "val_loss", "val_sparse_categorical_accuracy"]
    assert max(point.epoch for point in front) <= 9
    without = trained(*prepared(), epochs=20)
    kept = [point for point in without if point.epoch <= 9]
    for ours, theirs in zip(front, kept, strict=False):
        if ours.epoch == theirs.epoch:
            assert ours.metric == theirs.metric and ours.cost == theirs.cost
