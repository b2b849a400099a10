"""`cmpirun` and `python -m launcher`."""

import sys


def main() -> int:
    """Parse, plan, run; returns the exit code."""
    from launcher.cli import parse
    from launcher.run import run

    return run(parse(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
