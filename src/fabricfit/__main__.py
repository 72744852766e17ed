"""``python -m fabricfit``: the command line."""

from fabricfit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
