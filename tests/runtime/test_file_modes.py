"""What lies in files is for its owner alone, whatever the umask: the modes in docs/security.md."""

import os
import stat

import numpy as np
import pytest

from cmpi import slurm
from cmpi._runtime import output_log, own_output
from cmpi._runtime.linux import pid_files
from cmpi._transport import door, job_secret, mapped_file
from cmpi.data.destinations import storage
from cmpi.data.execution import spill_folder
from cmpi.launcher import run as launcher_run
from cmpi.launcher.slurm import job_files
from cmpi.pool import shared
from cmpi.processes import run


@pytest.fixture(autouse=True)
def open_umask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = os.umask(0)
    yield
    os.umask(before)


def output_of_a_detached_deployment(path):
    log = output_log.OutputLog(path)
    log.write(1, b"printed")
    log.close()


def note_of_a_process(path):
    os.mkdir(path, 0o700)
    pid_files.announce(path, "root")


def pipe_for_own_output(path):
    os.mkdir(path, 0o700)
    os.close(own_output.open_own_output(path))


def call_of_a_batch_job(path):
    os.mkdir(path)
    os.chdir(path)
    slurm._submit(abs, [(1,)], "", {})


FILES = {
    "secret": lambda path: job_secret.create(os.path.dirname(path)).forget(),
    "socket": lambda path: door.listen(path).close(),
    "pipe": pipe_for_own_output,
    "note of a process": note_of_a_process,
    "ring or segment": lambda path: mapped_file.map_file(path, 4096),
    "array of a pool": lambda path: shared.write(path, np.zeros(4096, np.uint8)),
    "output of a detached deployment": output_of_a_detached_deployment,
    "call of a batch job": call_of_a_batch_job,
}


@pytest.mark.parametrize("what", FILES)
def test_files_are_for_their_owner(tmp_path, monkeypatch, what):
    monkeypatch.setattr(slurm, "_cmpirun", lambda *arguments: "17\n")
    FILES[what](str(tmp_path / "it"))
    made = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert made and {stat.S_IMODE(path.lstat().st_mode) for path in made} == {0o600}, made


def of_run(folder, monkeypatch):
    found = []

    def job(command, check):
        found.append(command[-1])
        assert mode_of(found[0]) == 0o700
        raise KeyboardInterrupt

    monkeypatch.setattr(run.subprocess, "run", job)
    with pytest.raises(KeyboardInterrupt):
        run.run(abs, -1)
    assert not os.path.exists(found[0])


def of_the_job(folder, monkeypatch):
    launcher_run._make_folder(f"{folder}/job")
    assert mode_of(f"{folder}/job") == 0o700


def of_a_detached_deployments_output(folder, monkeypatch):
    output_of_a_detached_deployment(f"{folder}/output")
    assert mode_of(f"{folder}/output") == 0o700


def of_notes_about_batch_jobs(folder, monkeypatch):
    job_files.note("17", str(folder))
    assert mode_of(job_files.notes_folder()) == 0o700 and job_files.noted("17") == str(folder)


def of_spilled_rows(folder, monkeypatch):
    spilled = spill_folder.SpillFolder(str(folder))
    path = spilled.path
    assert mode_of(path) == 0o700
    spilled.close()
    assert not os.path.exists(path)


def of_an_upload(folder, monkeypatch):
    pytest.importorskip("fsspec")
    with storage.storage("memory://somewhere").written("name") as path:
        assert mode_of(os.path.dirname(path)) == 0o700
        open(path, "wb").close()
    assert not os.path.exists(os.path.dirname(path))


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(
    "folder",
    [
        of_run, of_the_job, of_a_detached_deployments_output, of_notes_about_batch_jobs, of_spilled_rows,
        of_an_upload,
    ],
    ids=lambda check: check.__name__,
)  # fmt: skip
def test_folders_are_for_their_owner_as_long_as_they_exist(tmp_path, monkeypatch, folder):
    folder(tmp_path, monkeypatch)
