"""Arrays of any names, by ``--inputs`` and ``--targets``."""

from __future__ import annotations

import json

import keras
import numpy as np

from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_arrays_are_named_by_options(job, command, tmp_path):
    np.savez(tmp_path / "named.npz", jets=job.X, label=job.y)
    names = ("--data", tmp_path / "named.npz", "--inputs", "jets", "--targets", "label")
    explored = ("explore", job.model, "--dsp", 20, "--loss", "sparse_categorical_crossentropy")
    code, out, err = command(*explored, *names, "--json")
    assert code == 0, err
    plain = command(*explored, "--data", job.folder / "data.npz", "--json")
    assert json.loads(out) == json.loads(plain[1])


def test_several_inputs_are_named_as_in_the_model(job, tmp_path):
    from fabricfit.cli.configuration import parse_data
    from fabricfit.cli.groups import SampleOptions
    from fabricfit.cli.inputs import load_data

    np.savez(tmp_path / "d.npz", tracks=job.X, E=job.X[:, 0], label=job.y)
    source = {"data": str(tmp_path / "d.npz"), "targets": ["label"]}
    by_pair = SampleOptions(inputs=["tracks=tracks", "energy=E"], **source)
    (X, y), _ = load_data(parse_data(by_pair.section()))
    assert set(X) == {"tracks", "energy"} and len(X["energy"]) == len(y)
    listed = SampleOptions(inputs=["tracks", "E"], **source)
    (X, _), _ = load_data(parse_data(listed.section()))
    assert set(X) == {"tracks", "E"}
    assert not keras.tree.is_nested(y)
