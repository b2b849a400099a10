"""`python -m cmpi.bench NAME`: medians of interleaved runs, with the ratio that matters."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = ("startup", "spawn", "output")


def main() -> int:
    """Run one benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m cmpi.bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--runs", type=int, default=0, help="repetitions (default: the benchmark's own)")
    options = parser.parse_args()
    module = importlib.import_module(f"cmpi.bench.{options.name}")
    for line in module.run(options.runs or module.RUNS):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
