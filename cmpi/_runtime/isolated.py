"""Runs a module of cmpi so that no file of the user's can take the place of one that cmpi needs.

    python isolated.py MODULE:FUNCTION [ARGS...]

`python -m` looks up modules in the working folder first: a `random.py` or `select.py` there was imported
instead of the standard library's. Started by its path, Python looks in the folder of this file first, and
`order_path` removes that before anything else is imported. (`python -I` would also ignore PYTHONHASHSEED,
PYTHONUNBUFFERED and the like, which count for the processes that the fork server forks.)
"""

import os  # the interpreter has imported both before it looks at any path
import sys


def order_path() -> None:
    """Order sys.path: the standard library, what PYTHONPATH and site say, the working folder.

    Modules of cmpi come from the folder that this file is in, whatever else is called `cmpi`.
    """
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    library = os.path.dirname(os.__file__)
    first = [library, f"{library}/lib-dynload"]
    try:
        # An empty part of PYTHONPATH, as in "$PYTHONPATH:/x", names it; few mean that.
        last = ["", os.getcwd()]
    except OSError:
        last = [""]  # it was removed
    own = f"{home}/cmpi/_runtime"
    others = [path for path in sys.path if path not in (own, *first, *last)]
    end = [path for path in last if path in sys.path]
    sys.path[:] = [home, *first]
    import cmpi  # noqa: F401  # found once, its package says where all of it is

    sys.path[:] = [*first, *others, *end]
    if home not in sys.path:
        sys.path.append(home)


def main() -> int:
    """Call the function that the command line names; returns what it returns, the exit code."""
    order_path()
    from importlib import import_module

    module, _, function = sys.argv.pop(1).partition(":")
    code: int = getattr(import_module(module), function)()
    return code


if __name__ == "__main__":
    sys.exit(main())
