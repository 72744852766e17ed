"""Fits around training loops of one's own."""

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import FabricFitError, InfeasibleError, InvalidInputError
from tests.common import kernel_of

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"}}
BUDGET = fabricfit.Budget.relative(dsp=0.5)
LEVELS = fabricfit.scheduler.PolynomialScheduler(2, final_sparsity=1.0)

pytestmark = pytest.mark.keras


@pytest.fixture
def masked(trained, data, tmp_path):
    trained.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )

    def make(**options):
        given = {"hls_config": CONFIG, "scheduler": LEVELS, "directory": tmp_path, **options}
        return fabricfit.masked(trained, *data, BUDGET, **given)

    return make


def count_zeros(model):
    return sum(int((kernel_of(model, n) == 0).sum()) for n in ("fc1", "fc2", "out"))


def take_steps(training, X, y, epochs=2):
    """Train in the way of the backend, by hand; return whether weights have changed that are not frozen."""
    model, loss_fn = training.model, keras.losses.SparseCategoricalCrossentropy()
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build(model.trainable_variables)
    for _ in range(epochs):
        for start in range(0, len(X), 64):
            part = slice(start, start + 64)
            gradients = compute_gradients(model, loss_fn, X[part], y[part])
            optimizer.apply(training.mask_gradients(gradients), model.trainable_variables)
            training.apply()


def compute_gradients(model, loss_fn, X, y):
    variables = model.trainable_variables
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_fn(y, model(X, training=True))
        return tape.gradient(loss, [v.value for v in variables])
    if keras.backend.backend() == "torch":
        loss = loss_fn(y, model(X, training=True))
        model.zero_grad()
        loss.backward()
        return [v.value.grad for v in variables]
    import jax

    def compute(values):
        outputs, _ = model.stateless_call(
            values, [v.value for v in model.non_trainable_variables], X
        )
        return loss_fn(y, outputs)

    return jax.grad(compute)([v.value for v in variables])


def test_a_loop_of_ones_own_reaches_the_budget(masked, trained, data):
    before = [keras.ops.convert_to_numpy(v) for v in trained.variables]
    training, zeros = masked(), []
    for level in training.levels():
        frozen = count_zeros(training.model)
        start = kernel_of(training.model, "fc1").copy()
        take_steps(training, *data[0])
        assert count_zeros(training.model) == frozen  # what is pruned stays so
        assert (kernel_of(training.model, "fc1") != start).any()  # and the rest is trained
        zeros.append((level.number, level.sparsity, frozen))
    assert [number for number, *_ in zeros] == [1, 2] and zeros[-1][1] == 1.0
    assert 0 < zeros[0][2] < zeros[1][2]
    result = training.result
    assert result.report.fits and result.hls_config["Model"]["Strategy"]
    assert len(result.history) == 2 and all(level.accepted for level in result.history)
    assert result.report.resources_after[0] <= 0.5 * result.report.resources_before[0]
    assert (result.directory / "report.json").is_file()
    for value, variable in zip(before, trained.variables, strict=True):
        np.testing.assert_array_equal(value, keras.ops.convert_to_numpy(variable))


def test_keras_fit_goes_from_level_to_level(masked, data):
    training = masked()
    (X, y), validation = data
    with pytest.raises(FabricFitError, match="levels are left"):
        _ = training.result
    history = training.model.fit(
        X, y, batch_size=64, epochs=20, verbose=0, callbacks=[training.callback(epochs=2)]
    )
    assert len(history.epoch) == 4  # two levels of two epochs each, and fit is stopped
    result = training.result
    assert result.report.fits and [level.epochs for level in result.history] == [2, 2]
    predicted = np.asarray(result.model.predict(validation[0], verbose=0)).argmax(1)
    assert (predicted == validation[1]).mean() > 0.5


def test_a_level_that_is_bad_is_undone(masked):
    training = masked(rtol=0.9, cutoff_bad_trials=0)
    for level in training.levels():
        if level.number == 2:
            training.model.set_weights([0 * w for w in training.model.get_weights()])
    assert [level.accepted for level in training.result.history] == [True, False]
    assert count_zeros(training.result.model) < sum(
        kernel_of(training.result.model, n).size for n in ("fc1", "fc2", "out")
    )


def test_levels_that_are_done_are_not_done_again(masked):
    training = masked()
    first = next(training.levels())
    assert first.number == 1
    begun = iter(masked(resume=True).levels())
    assert next(begun).number == 1  # nothing was finished
    levels = masked().levels()
    next(levels)
    assert next(levels).number == 2
    levels.close()
    resumed = masked(resume=True)
    assert [level.number for level in resumed.levels()] == [2]
    assert len(resumed.result.history) == 2


def test_what_concerns_the_training_is_refused(masked, trained, data, tmp_path):
    for name, value in (("epochs", 3), ("search", 5), ("distillation", 0.5)):
        with pytest.raises(InvalidInputError, match=f"{name} concerns the training"):
            masked(**{name: value})
    with pytest.raises(InvalidInputError, match="hls_config must state"):
        masked(hls_config=None)
    with pytest.raises(InfeasibleError, match="DSP"):
        fabricfit.masked(
            trained, *data, fabricfit.Budget(dsp=0, lut=1), hls_config=CONFIG, directory=tmp_path
        )
    training = masked()
    other = keras.models.clone_model(training.model)
    other.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(InvalidInputError, match=r"belongs to training\.model"):
        other.fit(*data[0], verbose=0, callbacks=[training.callback()])
    assert not list(tmp_path.glob("run-*"))
