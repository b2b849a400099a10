"""The programs of cmpi that are started by their path, with `python -I`, and where they are.

A path rather than `-m`, because nothing of ours may be looked up in a person's folders.
"""

import os

import cmpi

ROOT_MAIN = "cmpi/_runtime/root/main.py"
SPAWN_STUB = "cmpi/_runtime/monitor/spawn_stub.py"
RSH_CLIENT = "cmpi/launcher/hosts/rsh_client.py"


def home() -> str:
    """The folder that holds the package `cmpi` on this host."""
    return os.path.dirname(os.path.dirname(os.path.abspath(cmpi.__file__)))


def path_of(program: str) -> str:
    """Where one of the above is on this host."""
    return f"{home()}/{program}"
