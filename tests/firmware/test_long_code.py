"""Products that are written out one by one are compiled as loops over the same indices."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.firmware.long_code import fold_products

LINE = (
    "                acc[{}] += static_cast<typename CONFIG_T::accum_t>(CONFIG_T::template "
    "product<data_T, typename CONFIG_T::weight_t>::product(data[{}], weights[{}]));"
)
INDEX = st.integers(0, 10_000)
OTHER = st.sampled_from(["            M3: {", "            }", "// hls4ml insert code", ""])


def read_order(code: str) -> list[str | tuple[int, ...]]:
    """Return products and other lines in the order in which the code has them."""
    found: list[str | tuple[int, ...]] = []
    for line in code.splitlines():
        if line.startswith("static const unsigned products"):
            found += [tuple(map(int, row)) for row in re.findall(r"\{(\d+),(\d+),(\d+)\}", line)]
        elif match := re.fullmatch(r"\s*acc\[(\d+)\].*data\[(\d+)\], weights\[(\d+)\]\)\);", line):
            found.append(tuple(map(int, match.groups())))
        else:
            found.append(line)
    return found


@given(st.lists(st.tuples(INDEX, INDEX, INDEX) | OTHER, max_size=60))
def test_folded_code_has_the_same_products_and_lines_in_the_same_order(parts):
    code = "\n".join(part if isinstance(part, str) else LINE.format(*part) for part in parts)
    folded = fold_products(code)
    inside = [
        part for part in read_order(folded)
        if not (isinstance(part, str) and (part in ("{", "};", "}") or "each" in part or part == "acc"))
        and part != "acc[each[0]] += static_cast<typename CONFIG_T::accum_t>("
    ]  # fmt: skip
    assert [part for part in inside if part] == [part for part in parts if part]


def test_lines_of_another_form_stay():
    lines = [LINE.format(i, i, i).replace("+=", "-=") for i in range(6)]
    assert fold_products("\n".join(lines)).splitlines() == lines


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_folded_code_computes_what_the_written_code_computes(tmp_path, monkeypatch, io_type):
    keras = pytest.importorskip("keras")
    pytest.importorskip("hls4ml")
    from fabricfit.firmware import simulation

    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(48, name="fc")])
    kernel = np.round(rng.normal(size=(32, 48)) * 64) / 256 * (rng.random((32, 48)) < 0.5)
    model.layers[0].set_weights([kernel, np.zeros(48)])
    config = {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 16, "Strategy": "ResourceUnrolled"}
    }
    project = simulation.convert(
        model, config, tmp_path, simulation.CapturedOutput(), backend="Vitis", io_type=io_type
    )
    X, before = rng.normal(size=(20, 32)), sorted(tmp_path.rglob("*.h"))
    outputs = []
    for least in (0, 10**9):
        monkeypatch.setattr(simulation, "_WRITTEN_OUT", least)
        library = simulation.compile_project(project)
        outputs.append(simulation.run_project(project, library, [X], traced=False).outputs[0])
    assert np.array_equal(*outputs)
    assert np.abs(outputs[0]).max() > 1
    assert sorted(tmp_path.rglob("*.h")) == before  # the project stays as hls4ml writes it
