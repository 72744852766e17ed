"""``python -m tests.support``: write the table of layers, adding the packages that are installed here."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support.cases import CASES, is_installed
from tests.support.checks import CHECKS
from tests.support.table import PATH, read_rows, write_table


def main() -> None:
    """Try everything, and write what came out beside what is known of other packages."""
    rows = read_rows(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for case in CASES:
        if not is_installed(case.family):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[case.name] = {name: check(case, Path(folder)) for name, check in CHECKS.items()}
    in_order = {case.name: rows[case.name] for case in CASES if case.name in rows}
    PATH.write_text(write_table(in_order), encoding="utf-8")


if __name__ == "__main__":
    main()
