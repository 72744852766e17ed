"""The 523 synthesis runs of the repository, for the tests of several laws."""

import csv
from pathlib import Path

import numpy as np

from fabricfit.hardware.product import Product

DATA = Path(__file__).parents[1] / "data" / "synthesis"


def read_runs():
    """Yield each run's row of the table, its product, and its kernel where that is known."""
    with (DATA / "vivado_2020_1_dense.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(DATA / "vivado_2020_1_dense_kernels.npz") as kernels:
        known = dict(kernels)
    for row in rows:
        sizes = (int(row[name]) for name in ("d_in", "d_out", "prec"))
        product = Product(*sizes, strategy=row["strategy"], reuse_factor=int(row["rf"]))
        yield row, product, known.get(row["model_name"])
