"""Runs a module of cmpi so that no file of the user's can replace a module that cmpi needs.

    python isolated.py MODULE:FUNCTION [ARGS...]

`python -m` looks up modules in the working folder first, so a `random.py` or `select.py` there would be
imported instead of the standard library's. If Python is given the path of this file, it looks in this
file's folder first, and `order_path` removes that folder before anything else is imported. (`python -I`
would also ignore PYTHONHASHSEED, PYTHONUNBUFFERED and others, which the forked processes need.)
"""

import os  # both are imported before the interpreter looks at any path
import sys


def order_path() -> None:
    """Order sys.path: the standard library, the folders from PYTHONPATH and site, the working folder.

    Modules of cmpi come from this file's folder, even if there is another package called `cmpi`.
    """
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    library = os.path.dirname(os.__file__)
    first = [library, f"{library}/lib-dynload"]
    try:
        # An empty part of PYTHONPATH, as in "$PYTHONPATH:/x", means the working folder, mostly by accident.
        last = ["", os.getcwd()]
    except OSError:
        last = [""]  # it has been removed
    own = f"{home}/cmpi/_runtime"
    others = [path for path in sys.path if path not in (own, *first, *last)]
    end = [path for path in last if path in sys.path]
    sys.path[:] = [home, *first]
    import cmpi  # noqa: F401  # found once, its package says where all of it is

    sys.path[:] = [*first, *others, *end]
    if home not in sys.path:
        sys.path.append(home)


def main() -> int:
    """Call the function that the command line names; return its result as the exit code."""
    order_path()
    from importlib import import_module

    module, _, function = sys.argv.pop(1).partition(":")
    code: int = getattr(import_module(module), function)()
    return code


if __name__ == "__main__":
    sys.exit(main())
