from __future__ import annotations

import json

import pytest

from fabricfit.errors import RunDirectoryError
from fabricfit.run import RunDirectory, resolve_directory


def test_every_run_has_a_new_folder(tmp_path):
    (tmp_path / "run-0001").mkdir()
    assert [RunDirectory(tmp_path).path.name for _ in range(2)] == ["run-0002", "run-0003"]


def test_a_file_is_whole_or_not_there(tmp_path):
    folder = RunDirectory(tmp_path)
    folder.write_json("a.json", {"x": 1})

    def torn(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.write("a.json", torn)
    assert json.loads((folder.path / "a.json").read_text()) == {"x": 1}
    assert [path.name for path in folder.path.iterdir()] == ["a.json"]


def test_the_default_name_stands_for_the_default_place(tmp_path):
    assert resolve_directory("usual", "usual", tmp_path) == tmp_path / "usual"
    assert resolve_directory(tmp_path / "mine", "usual", "/nowhere") == tmp_path / "mine"


def test_what_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="must name a folder"):
        resolve_directory(tmp_path / "file", "usual", tmp_path)
    with pytest.raises(RunDirectoryError, match="Name another one"):
        RunDirectory(tmp_path / "file" / "below")
