from __future__ import annotations

import json

import pytest

from fabricfit.errors import RunDirectoryError
from fabricfit.run import RunDirectory, files, resolve_directory


def test_every_run_has_a_new_folder(tmp_path):
    (tmp_path / "run-0001").mkdir()
    assert [RunDirectory(tmp_path).path.name for _ in range(2)] == ["run-0002", "run-0003"]


def test_a_file_is_whole_or_not_there(tmp_path):
    folder = RunDirectory(tmp_path)
    folder.write_json("a.json", {"x": 1})

    def torn(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.write("a.json", torn)
    assert json.loads((folder.path / "a.json").read_text()) == {"x": 1}
    assert [path.name for path in folder.path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["hls4ml-optimization-keras", "hls4ml-optimization"])
def test_historical_defaults_stand_for_folders_of_the_cache(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TMP_DIRECTORY", str(tmp_path))
    assert resolve_directory(name) == tmp_path / name
    assert resolve_directory(tmp_path / "mine") == tmp_path / "mine"


def test_what_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="must name a folder"):
        resolve_directory(tmp_path / "file")
    with pytest.raises(RunDirectoryError, match="Name another one"):
        RunDirectory(tmp_path / "file" / "below")
