"""Real jobs: `cmpirun(...)` runs one, and nothing of it may be left afterwards."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from cmpi.bench.leftover_files import files, leftovers

SLOWNESS = float(os.environ.get("CMPI_TEST_SLOWNESS", "1"))
MARK = "MARK_OF_TEST_JOB"
BIN = os.path.dirname(sys.executable)


def pytest_collection_modifyitems(items):
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.mpi)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Jobs:
    """Runs jobs that carry a mark, so that their leftovers can be found."""

    def __init__(self, folder):
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self._started = []
        ours = ("PYTEST", "COLUMNS")  # xdist sets the latter in its workers
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.environment |= {MARK: self.mark, "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.environment["XDG_STATE_HOME"] = str(folder / "state")

    def script(self, text, name="job.py"):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, *argv, **kwargs):
        """Start a job in the background, in its own session."""
        kwargs = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "stdin": subprocess.DEVNULL,
        } | kwargs
        environment = self.environment | kwargs.pop("env", {})
        cwd = kwargs.pop("cwd", self.folder)
        job = subprocess.Popen(argv, env=environment, cwd=cwd, start_new_session=True, **kwargs)
        self._started.append(job)
        return job

    def run(self, *argv, timeout=30, input=None, text=True, **kwargs):
        """Run a job to its end; a hang is an error that shows where."""
        if input is not None:
            kwargs["stdin"] = subprocess.PIPE
        job = self.start(*argv, **kwargs)
        try:
            out, err = job.communicate(input, timeout * SLOWNESS)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGTERM)
            out, err = job.communicate(timeout=10)
            pytest.fail(f"hung: {argv}\n{out!r}\n{err!r}")
        if text:
            out, err = out.decode(), err.decode()
        return Result(job.returncode, out, err)

    def processes(self):
        """All processes that carry the mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def leftovers(self):
        left = []
        end = time.monotonic() + 4 * SLOWNESS
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        what = []
        for process in left:
            try:
                what.append(f"process {process.pid}: {process.cmdline()}")
                process.kill()
            except psutil.Error:
                continue
        return what

    def close(self):
        """End the jobs that a failed test has left, so that their pipes cause no warnings in other
        tests."""
        for job in self._started:
            job.kill()
            with contextlib.suppress(BrokenPipeError), job:
                pass


@pytest.fixture
def jobs(tmp_path):
    before = files()
    jobs = Jobs(tmp_path)
    yield jobs
    left = jobs.leftovers()
    jobs.close()
    left += leftovers(before, 10 * SLOWNESS)
    assert not left, "the job left something behind"


@pytest.fixture
def cmpirun(jobs):
    def run(*arguments, **kwargs):
        return jobs.run("cmpirun", "--output", "plain", *arguments, **kwargs)

    return run


@pytest.fixture
def job(jobs, cmpirun):
    """Runs the text of a script under `cmpirun`."""

    def run(text, *arguments, options=(), **kwargs):
        return cmpirun(*options, "python", jobs.script(text), *arguments, **kwargs)

    return run


@pytest.fixture
def program(request, job):
    """Runs a text after its module's PRELUDE; returns the output, once it has ended without an error."""

    def run(text, **kwargs):
        result = job(request.module.PRELUDE + text, **kwargs)
        assert result.code == 0 and not result.err, result
        return result.out

    return run


def mpi_kind():
    from cmpi.launcher.mpi.find_mpi import find

    return find().kind


@pytest.fixture
def as_user(jobs):
    """Runs a program as a job of the user with this uid, who has no other processes."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: this needs root, to become another user")

    def run(number, text, before=()):
        become = (*before, "setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups")
        check = [*become, "sh", "-c", 'exec "$0" -c "import cmpi"', sys.executable]
        if subprocess.run(check, cwd="/", stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip(f"{sys.executable} cannot be read by other users")
        os.chmod(jobs.folder, 0o755)
        for parent in jobs.folder.parents:
            if parent.stat().st_mode & 0o005 != 0o005:
                os.chmod(parent, 0o755)
        command = (*become, "cmpirun", "--output", "plain", "python", jobs.script(text))
        return jobs.run(*command, env={"HOME": "/"}, timeout=60)

    return run
