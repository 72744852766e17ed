"""hls4ml's backends: what is known of each, and what a project's configuration says of them."""

from __future__ import annotations

import pytest

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.hls4ml.backends import (
    BACKENDS,
    BOARDS,
    find_backend,
    list_backend_notes,
    read_backend,
    read_board,
    read_part,
    require_emulated,
)


def test_names_in_any_case_and_nearest_ones():
    assert find_backend("vivadoaccelerator").name == "VivadoAccelerator"
    with pytest.raises(InvalidInputError, match="Did you mean 'Quartus'"):
        find_backend("Quartos")


@pytest.mark.parametrize("name", ["Vitis", "vivado", "VivadoAccelerator"])
def test_backends_that_can_be_verified(name):
    assert require_emulated(name).name.lower() == name.lower()


@pytest.mark.parametrize("name", ["Quartus", "oneAPI", "Catapult", "Libero", "SymbolicExpression"])
def test_others_are_refused_by_name_with_the_reason(name):
    with pytest.raises(
        InvalidInputError, match=f"backend must be one of 'Vitis'.*'{name}': it"
    ) as caught:
        require_emulated(name.lower())
    assert "backend='Vitis' verifies" in str(caught.value)


def test_backend_of_a_configuration():
    assert read_backend({}).name == "Vitis"
    assert read_backend({"Backend": "oneapi"}).name == "oneAPI"
    with pytest.raises(InvalidInputError, match="backend must be one of"):
        read_backend({"Backend": "Verilator"})


def test_part_of_a_configuration():
    assert read_part({}) is None
    assert read_part({"Part": "xczu7ev-ffvc1156-2-e"}) == "xczu7ev-ffvc1156-2-e"
    accelerator = {"Backend": "VivadoAccelerator", "Part": "xcvu13p-flga2577-2-e"}
    assert read_part(accelerator) == "xc7z020clg400-1"
    assert read_part(accelerator | {"AcceleratorConfig": {"Board": "alveo-u50"}}) == (
        "xcu50-fsvh2104-2-e"
    )


def test_boards():
    assert read_board({}).name == "pynq-z2"
    assert read_board({}, "xczu9eg-ffvb1156-2-e").name == "zcu102"
    assert read_board({}, "XC7Z020-clg400-1").name == "pynq-z2"
    on_board = {"AcceleratorConfig": {"Board": "pynq-z2"}}
    with pytest.raises(
        InvalidInputError, match=r"part must be that of the board.*'xc7z020clg400-1' \(pynq"
    ):
        read_board(on_board, "xczu9eg-ffvb1156-2-e")
    with pytest.raises(InvalidInputError, match="Did you mean 'pynq-z2'"):
        read_board({"AcceleratorConfig": {"Board": "pynq-z1"}})
    with pytest.raises(FabricFitError, match="must be a dictionary"):
        read_board({"AcceleratorConfig": "pynq-z2"})


def test_what_an_estimate_says_of_backends():
    assert list_backend_notes({}) == list_backend_notes({"Backend": "Vivado"}) == ()
    for name, says in {
        "VivadoAccelerator": "AXI wrapper",
        "Quartus": "Intel's handbooks",
        "oneAPI": "Nothing that oneAPI builds was measured",
        "Catapult": "laws of AMD's compilers",
        "Libero": "PolarFire",
        "SymbolicExpression": "formulas",
    }.items():
        (note,) = list_backend_notes({"Backend": name})
        assert note.startswith(f"{name}: ")
        assert says in note
    assert len(list_backend_notes({"Backend": "Catapult", "Technology": "FPGA"})) == 1


def test_an_asic_and_an_unknown_board_are_refused():
    with pytest.raises(InvalidInputError, match=r"an ASIC has none.*'asic'"):
        list_backend_notes({"Backend": "Catapult", "Technology": "asic"})
    board = {"Backend": "VivadoAccelerator", "AcceleratorConfig": {"Board": "arty"}}
    with pytest.raises(InvalidInputError, match="'Board'"):
        list_backend_notes(board)


@pytest.mark.keras
def test_backends_boards_and_parts_are_those_of_hls4ml():
    hls4ml = pytest.importorskip("hls4ml")
    import importlib.resources
    import json

    names = hls4ml.backends.get_available_backends()
    assert set(names) == {name.lower() for name in BACKENDS}
    for name in names:
        found = hls4ml.backends.get_backend(name)
        backend = find_backend(name)
        assert found.name == backend.name
        if backend.name not in ("Libero", "SymbolicExpression", "VivadoAccelerator"):
            assert found.create_initial_config()["Part"] == backend.default_part
    package = importlib.resources.files("hls4ml.backends.vivado_accelerator")
    boards = json.loads((package / "supported_boards.json").read_text())
    assert {name: board["part"] for name, board in boards.items()} == {
        board.name: board.part for board in BOARDS.values()
    }
