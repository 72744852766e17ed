"""What importing and aliasing do to the rest of the process: nothing that was not asked for."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.marks import WAIT_ELSEWHERE, first_quick

pytestmark = WAIT_ELSEWHERE


def python(script, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
        **options,
    ).stdout


HEAVY = ("keras", "tensorflow", "jax", "torch", "keras_tuner", "ortools", "hls4ml", "qkeras")
UNUSED = (*HEAVY, "matplotlib", "pandas", "jinja2", "h5py", "pydantic", "typer", "yaml")
"""What the core does not import, though some of it is always installed."""


def test_the_core_loads_numpy_and_scipy_only():
    loaded = python(f"""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {UNUSED!r}:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Nowhere())
        import fabricfit, fabricfit.description, fabricfit.config, fabricfit.datasets
        import fabricfit.description.grouping, fabricfit.hardware, fabricfit.knapsack, fabricfit.objectives
        import fabricfit.objectives.gpu_objectives, fabricfit.objectives.vivado_objectives
        import fabricfit.choices.ranking, fabricfit.reporting.report, fabricfit.run, fabricfit.scheduler
        import fabricfit.selection.groups
        import numpy as np
        from fabricfit.description import LayerAttributes, OptimizationAttributes
        wanted = OptimizationAttributes("pattern", pruning=True, pattern_offset=8)
        layer = LayerAttributes("fc", object, [], (8, 4), (8,), (4,), True, wanted)
        kernels = {{"fc": np.random.default_rng(0).normal(size=(8, 4))}}
        objective = fabricfit.objectives.as_objective(fabricfit.objectives.ParameterEstimator)
        found = fabricfit.selection.groups.select_groups(kernels, {{"fc": layer}}, 0.5, objective)
        assert found.keep["fc"].sum() == 4
        print(sorted(set({UNUSED!r}) & set(sys.modules)))
    """)
    assert loaded.strip() == "[]"


STATE = """
    import logging, sys, warnings, numpy as np

    def state():
        import keras
        custom = keras.saving.get_custom_objects()
        return {
            "numpy errors": np.geterr(),
            "numpy random": np.random.get_state()[1].tobytes(),
            "handlers": (logging.getLogger().handlers[:], logging.getLogger().level),
            "filters": list(warnings.filters),
            "floatx": keras.config.floatx(),
            "epsilon": keras.config.epsilon(),
            "format": keras.config.image_data_format(),
            "policy": keras.config.dtype_policy().name,
            "backend": keras.backend.backend(),
            "traceback": keras.config.is_traceback_filtering_enabled(),
            "custom": sorted(n for n in custom if not n.startswith("fabricfit>")),
            "excepthook": sys.excepthook,
            "threads": threads(),
        }

    def threads():
        import keras
        if keras.backend.backend() == "torch":
            import torch
            return torch.get_num_threads(), torch.initial_seed()
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf
            return tf.config.threading.get_intra_op_parallelism_threads()
        import jax
        return jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
"""


@pytest.mark.keras
def test_importing_changes_no_global_state():
    script = (
        STATE
        + """
    before = state()
    import fabricfit, fabricfit.keras, fabricfit.keras.builder, fabricfit.keras.config
    import fabricfit.keras.masking, fabricfit.keras.reduction, fabricfit.keras.regularizers
    import fabricfit.keras.utils, fabricfit.objectives.vivado_objectives
    after = state()
    assert before == after, [k for k in before if before[k] != after[k]]
    assert not logging.getLogger("fabricfit").handlers
    print("same")
    """
    )
    assert python(script).strip() == "same"


@pytest.mark.keras
@pytest.mark.parametrize(
    "installed", first_quick([True, False]), ids=["with hls4ml", "without hls4ml"]
)
def test_scripts_for_the_older_system_run_unchanged(installed):
    hide = """
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "hls4ml":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Nowhere())
    """
    script = """
        import fabricfit
        fabricfit.install_as_hls4ml_optimization()
        fabricfit.install_as_hls4ml_optimization()

        from hls4ml.optimization import optimize_keras_model_for_hls4ml
        from hls4ml.optimization.attributes import get_attributes_from_keras_model
        from hls4ml.optimization.config import SUPPORTED_STRUCTURES
        from hls4ml.optimization.keras import MaskedBackprop, optimize_model
        from hls4ml.optimization.keras.builder import build_optimizable_model
        from hls4ml.optimization.keras.masking import get_model_masks
        from hls4ml.optimization.keras.reduction import reduce_model
        from hls4ml.optimization.keras.regularizers import DenseRegularizer
        from hls4ml.optimization.keras.utils import get_model_sparsity
        from hls4ml.optimization.keras.config import SUPPORTED_METRICS
        from hls4ml.optimization.knapsack import solve_knapsack
        from hls4ml.optimization.objectives import ParameterEstimator
        from hls4ml.optimization.objectives.gpu_objectives import GPUFLOPEstimator
        from hls4ml.optimization.objectives.vivado_objectives import VivadoDSPEstimator
        from hls4ml.optimization.scheduler import ConstantScheduler
        from hls4ml.optimization.dsp_aware_pruning.keras import optimize_model as again
        from hls4ml.optimization.dsp_aware_pruning.scheduler import PolynomialScheduler
        import hls4ml.optimization.dsp_aware_pruning.objectives.vivado_objectives as vivado
        import hls4ml

        import fabricfit.keras
        assert again is optimize_model is fabricfit.keras.optimize_model
        assert vivado.VivadoDSPEstimator is VivadoDSPEstimator
        assert hls4ml.optimization is fabricfit
        assert fabricfit.__name__ == "fabricfit" and fabricfit.__spec__.name == "fabricfit"
        value, chosen = solve_knapsack([1.0, 2.0], [[1, 1]], [1])
        assert (value, list(chosen)) == (2.0, [1])
        print("served")
    """
    if installed:
        pytest.importorskip("hls4ml")
        script += "\n        import hls4ml.model\n"
    else:
        script = hide + script
    assert python(script).strip().splitlines()[-1] == "served"


@pytest.mark.keras
def test_what_is_not_installed_is_asked_for_by_its_extra():
    asked = python("""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("keras_tuner", "ortools"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Nowhere())
        import fabricfit, fabricfit.keras.builder
        from fabricfit.knapsack import solve_knapsack
        for tuner in (None, "Manual", "halving"):
            fabricfit.OptimizationSettings(8, 2, "sgd", "mse", "mse", False, 2.0, tuner=tuner)
        attempts = (
            lambda: fabricfit.OptimizationSettings(8, 2, "sgd", "mse", "mse", False, 2.0, tuner="Bayesian"),
            lambda: fabricfit.keras.builder.HyperOptimizationModel,
            lambda: solve_knapsack([3.0, 2.0], [[2, 3]], [4], "branch_bound"),
        )
        for attempt in attempts:
            try:
                attempt()
            except ImportError as error:
                assert isinstance(error, fabricfit.FabricFitError)
                print(str(error).split("'")[-2])
    """)
    assert asked.split() == ["fabricfit[tuner]", "fabricfit[tuner]", "fabricfit[ortools]"]
