"""``python five_lines.py PAGE FORM DATA``: run the five lines of the front page; check what they leave."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main(page: str, form: str, data: str) -> None:
    import keras

    from fabricfit.datasets import load_jets

    text = Path(page).read_text(encoding="utf-8")
    block = r'^```python title="five lines"\n(.*?)^```'
    (lines,) = re.findall(block, text, re.DOTALL | re.MULTILINE)
    jets = load_jets(samples=2000)
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(5, "softmax")]
    model = keras.Sequential([keras.Input((16,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(jets.X_train, jets.y_train, epochs=2, verbose=0)
    names = {"model": model}
    for part, end in (("train", ""), ("val", "_val"), ("test", "_test")):
        names |= {f"{each}{end}": getattr(jets, f"{each}_{part}") for each in ("X", "y")}
    if form != "object":
        model.save(f"model.{form}")
        names["model"] = f"model.{form}"
    if data == "tf.data":
        import tensorflow as tf

        for given, name in (("(X, y)", "train"), ("(X_val, y_val)", "validation")):
            assert lines.count(given) == 1
            arrays = tuple(names[each] for each in re.findall(r"\w+", given))
            names[name] = tf.data.Dataset.from_tensor_slices(arrays).batch(64)
            lines = lines.replace(given, name)
    exec(compile(lines, page, "exec"), names)
    result = names["result"]
    assert result.report.fits, result.report
    assert Path("out/model.keras").exists()
    assert Path("project/build_prj.tcl").exists()
    verified = result.verify(jets.X_test, samples=50)
    assert verified.passed, verified


if __name__ == "__main__":
    main(*sys.argv[1:])
