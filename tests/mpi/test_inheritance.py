"""A spawned process inherits what a process inherits by fork and exec."""

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import os, sys, time
import cmpi
def ask(f): return cmpi.Receiver(cmpi.spawn(lambda parent: cmpi.Sender(parent).send(f()))).recv(timeout=30)
"""


def test_flags_of_the_interpreter_reach_what_is_spawned(cmpirun, jobs):
    text = """
import sys
import cmpi
def flags():
    shown = ("optimize", "utf8_mode", "dont_write_bytecode")
    return [getattr(sys.flags, name) for name in shown], sys.warnoptions, sys._xoptions, __debug__
def tell(parent): cmpi.Sender(parent).send((flags(), "fork_server" in open("/proc/self/cmdline").read()))
def tell_on(parent): cmpi.Sender(parent).send(cmpi.Receiver(cmpi.spawn(tell)).recv())
if __name__ == "__main__":
    for f in (tell, tell_on):
        told, forked = cmpi.Receiver(cmpi.spawn(f)).recv()
        print(told == flags() and forked, flags())
"""
    options = ["-O", "-B", "-W", "error::UserWarning", "-X", "utf8", "-X", "int_max_str_digits=5000"]
    environment = {"PYTHONWARNINGS": "error::UserWarning"}
    result = cmpirun("python", *options, jobs.script(text), env=environment)
    assert result.code == 0 and result.out.count("True ([1, 1, 1]") == 2, result
    assert not result.err, result


def test_changes_to_time_zone_limits_libraries_and_paths_take_effect_at_once(program, tmp_path):
    text = f"""
import ctypes, pathlib, resource
os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 4000))
sys.path.append(pathlib.Path("/tmp"))
cmpi.preload("json")
print(ask(lambda: (time.localtime(0).tm_hour, resource.getrlimit(resource.RLIMIT_NOFILE))))
def library():
    try: ctypes.CDLL("libmine.so")
    except OSError as error: return str(error)
    return "found"
loaded = (line.split()[-1] for line in open("/proc/self/maps"))
os.symlink(next(path for path in loaded if "/libc" in path), {str(tmp_path / "libmine.so")!r})
os.environ["LD_LIBRARY_PATH"] = {str(tmp_path)!r}
print(ask(library))
os.environ["PYTHONHASHSEED"] = "7"
print(ask(lambda: hash("x")) == ask(lambda: hash("x")))
"""
    assert program(text) == "(9, (300, 4000))\nfound\nTrue\n"


@pytest.mark.slow
def test_spawning_works_from_a_removed_working_folder(program):
    text = """
import tempfile
cmpi.init()  # Open MPI complains of such a folder itself
with tempfile.TemporaryDirectory() as folder: os.chdir(folder)
def where():
    try: return os.getcwd()
    except FileNotFoundError: return os.readlink("/proc/self/cwd")
print(ask(where) == folder + " (deleted)")
"""
    assert program(text) == "True\n"


@pytest.mark.slow
def test_a_module_with_threads_or_a_random_generator_is_not_preloaded(job, jobs):
    (jobs.folder / "generator.py").write_text("import random\nown = random.Random()\n")
    (jobs.folder / "numpy_generator.py").write_text("import numpy\nown = numpy.random.default_rng()\n")
    (jobs.folder / "pool.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "own = ThreadPoolExecutor(1)\n"
        "own.submit(int).result()\n"
    )
    (jobs.folder / "usage.py").write_text("raise SystemExit('usage: usage.py FILE')\n")
    (jobs.folder / "harmless.py").write_text("import random, threading\nloaded = True\n")
    text = (
        PRELUDE
        + """
cmpi.preload("generator", "numpy_generator", "pool", "usage", "harmless")
def numbers():
    import generator, numpy_generator
    return generator.own.random(), numpy_generator.own.random()
def pooled():
    import pool
    return pool.own.submit(int, "7").result(10)
print(len({ask(numbers) for _ in range(3)}), ask(pooled), ask(lambda: "harmless" in sys.modules))
"""
    )
    result = job(text)
    assert (result.code, result.out) == (0, "3 7 True\n"), result
    complaints = sorted(line.partition("preload ")[2] for line in result.err.splitlines())
    names = [line.partition(":")[0] for line in complaints]
    assert names == ["generator", "numpy_generator", "pool", "usage"], result
    assert "random generator" in complaints[0] and "threads (1)" in complaints[2], result


NEVER_UP = {
    "ends": "os._exit(7)",
    "is killed": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("how", NEVER_UP)
def test_a_fork_server_that_never_comes_up_is_reported_and_spawning_goes_on(job, jobs, how):
    (jobs.folder / "sitecustomize.py").write_text(
        f"import os, sys\nif 'cmpi._runtime.monitor.fork_server:main' in sys.orig_argv: {NEVER_UP[how]}\n"
    )
    result = job(PRELUDE + "print(ask(lambda: 42))", env={"PYTHONPATH": str(jobs.folder)})
    assert (result.code, result.out) == (0, "42\n"), result
    cause = {"ends": "exit code 7", "is killed": "signal 9"}[how]
    assert result.err.count("\n") == 1 and cause in result.err and "spawns are slower" in result.err, result


def test_a_socket_of_a_grandchild_is_not_taken_for_its_control_connection(job, jobs):
    grandchild = jobs.script(
        "import socket, cmpi\n"
        "own = [s for _ in range(8) for s in socket.socketpair()]\n"
        "try: cmpi.pid()\n"
        "except cmpi.NotRunning as error: print('NotRunning:', error)\n"
        "for s in own: s.setblocking(False)\n"
        "for s in own:\n"
        "    try: print('somebody wrote', s.recv(100))\n"
        "    except BlockingIOError: pass\n",
        "grandchild.py",
    )
    result = job(f"import subprocess, sys; subprocess.run([sys.executable, {grandchild!r}], timeout=20)")
    assert result.code == 0 and "NotRunning: " in result.out and "somebody wrote" not in result.out, result
