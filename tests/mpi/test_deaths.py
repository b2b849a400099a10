"""The table of deaths: what each looks like to other processes. None hangs; each is noticed within
LIMIT_S."""

import gzip
import os
import re

import pytest

LIMIT_S = 20
PRELUDE = """
import asyncio, cmpi, ctypes, os, resource, sys, threading, time, types
import numpy as np
from numpy.typing import NDArray
from cmpi import Receiver, Sender, kill, select, spawn, wait
def soon(how, after=0.3): threading.Thread(target=lambda: (time.sleep(after), how()), daemon=True).start()
def killed(): os.kill(os.getpid(), 9)
def exits(): os._exit(3)
"""

OVERFLOW = """
    sys.setrecursionlimit(10**9)
    class A:
        def __eq__(self, other): return A() == A()
    A() == A()
"""

# How a process dies, its status as `wait` shows it, and its exit code, which becomes cmpirun's.
DEATHS = {
    "killed": ("killed()", "signal 9 (SIGKILL)", 137),
    "segfault": ("ctypes.string_at(0)", "signal 11 (SIGSEGV)", 139),
    "_exit": ("exits()", "3", 3),
    "raises": ("raise KeyError('x')", "1: KeyError: 'x'", 1),
    "sys.exit": ("sys.exit(2)", "2", 2),
    "abort": ("os.abort()", "signal 6 (SIGABRT)", 134),
    "out of memory": (
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31)); np.ones(1 << 30)",
        "1: numpy.core._exceptions._ArrayMemoryError",
        1,
    ),
    "stack overflow": (OVERFLOW, "signal 11 (SIGSEGV)", 139),
    "import missing": (
        "import no_such_module",
        "1: ModuleNotFoundError: No module named 'no_such_module'",
        1,
    ),
}


@pytest.mark.parametrize("how", DEATHS)
def test_the_exit_status_of_a_death_is_reported_unchanged(job, how):
    death, status, code = DEATHS[how]
    result = job(
        PRELUDE
        + f"""
def victim(parent):
    Receiver(parent).recv()
    {death}
p = spawn(victim); Sender(p).send(0)
print(wait(p, timeout={LIMIT_S}))
print(wait(spawn(lambda parent: None)))
""",
        options=("--strict",),
    )
    first, second = result.out.splitlines()
    if how == "out of memory":  # numpy has renamed it
        assert "ArrayMemoryError" in first and first.startswith("1: "), result
    elif how == "stack overflow" and first.startswith("1: RecursionError"):
        code = 1  # Python 3.12 counts C calls separately
    else:
        assert first == status, result
    assert second == "0" and result.code == code, result
    if "SIG" in status and how not in ("killed", "stack overflow"):  # a stack overflow's stack is truncated
        assert "Fatal Python error" in result.err and "in victim" in result.err, result


def test_processes_that_raised_the_same_are_listed_without_another_traceback(job):
    result = job(
        PRELUDE
        + """
def bad(parent): {}["here"]
pids = [spawn(bad) for _ in range(3)]
for p in pids: wait(p)
""",
        options=("--strict",),
    )
    report = result.err[result.err.index("cmpirun: bad · ") :]
    names = re.findall(r"bad · [0-9a-f]{7}", re.search("    alike   (.*) raised the same\n", report)[1])
    assert len(set(names)) == 3 and result.code == 1, result
    assert "Traceback" not in report and result.err.count("Traceback") == 3, result


def test_a_core_dump_is_named(jobs):
    text = """
def victim(parent):
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
    ctypes.string_at(0)
spawn(victim)  # and nobody asks how it ended
"""
    result = jobs.run("cmpirun", "--output", "plain", "python", jobs.script(PRELUDE + text), timeout=60)
    (line,) = [line for line in result.err.splitlines() if line.startswith("    core    ")]
    name, where, _ = line.removeprefix("    core    ").partition(", in its working directory")
    if where:
        (dump,) = jobs.folder.glob(name)
        assert dump.stat().st_size > 1 << 20
    else:
        assert name.startswith(("/", "handed to ")), line


@pytest.fixture
def small_cgroup():
    """A cgroup of 400 MiB; yields the file that moves a process into it."""
    of_version_1 = "/sys/fs/cgroup/memory"
    version_1 = os.path.exists(f"{of_version_1}/memory.limit_in_bytes")
    folder = f"{of_version_1 if version_1 else '/sys/fs/cgroup'}/cmpi-test-{os.getpid()}"
    limit = f"{folder}/memory.{'limit_in_bytes' if version_1 else 'max'}"
    try:
        os.mkdir(folder)
    except OSError as error:
        pytest.skip(f"NOT TESTED: no cgroup can be made here: {error}")
    try:
        with open(limit, "w") as file:
            file.write(str(400 << 20))
        yield f"{folder}/cgroup.procs"
    except OSError as error:
        pytest.skip(f"NOT TESTED: the memory of a cgroup cannot be limited here: {error}")
    finally:
        os.rmdir(folder)


def test_a_process_killed_by_the_oom_killer_is_named_and_the_others_survive(jobs, small_cgroup):
    script = jobs.script(
        PRELUDE
        + f"""
def victim(parent):
    x = b"x" * (800 << 20)
p = spawn(victim)
print(wait(p, timeout={LIMIT_S}))
print(wait(spawn(lambda parent: None)))
print(cmpi.capacity().total.memory >> 20)
"""
    )
    enter = f"echo $$ > {small_cgroup}; exec cmpirun --strict --output plain --enforce none python {script}"
    result = jobs.run("sh", "-c", enter)
    first = "signal 9 (SIGKILL): out of memory: the kernel killed it"
    assert result.out.splitlines() == [first, "0", "400"] and result.code == 137, result


BLOCKED = {
    "recv": "Receiver(p).recv()",
    "send": "s = Sender(p, capacity=1)\n    while True: s.send(0)",
    "select": "select(Receiver(p), Receiver(p, name='other'))",
    "await recv": "asyncio.run(Receiver(p).arecv())",
    "await send": "s = Sender(p, capacity=1)\n    while True: asyncio.run(s.asend(0))",
    "wait": "raise cmpi.PeerExited(p, wait(p))",
}


@pytest.mark.slow
@pytest.mark.parametrize("death, status", [("killed", "signal 9 (SIGKILL)"), ("exits", "3")])
@pytest.mark.parametrize("blocked", BLOCKED)
def test_every_operation_that_a_death_blocks_raises_peer_exited(job, blocked, death, status):
    result = job(
        PRELUDE
        + f"""
def victim(parent): soon({death}); time.sleep(60)
p = spawn(victim)
try:
    {BLOCKED[blocked]}
except cmpi.PeerExited as error: print(error.pid == p, error.status)
"""
    )
    assert result.out == f"True {status}\n", result


SENDING = {
    "small": ((), "i", "x == i"),
    "large, through shared memory": ((), "np.full(200_000, i)", "(x == i).all() and len(x) == 200_000"),
    "large, through the ring": (
        ("--shared-memory", "1 KiB"),
        "np.full(200_000, i)",
        "(x == i).all() and len(x) == 200_000",
    ),
    "large, without shared memory": (
        ("--shared-memory", "0"),
        "np.full(200_000, i)",
        "(x == i).all() and len(x) == 200_000",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SENDING)
def test_a_process_that_dies_while_sending_has_sent_only_whole_messages(job, how):
    options, value, good = SENDING[how]
    result = job(
        PRELUDE
        + f"""
def victim(parent):
    s = Sender(parent)
    s.send(-1)
    def end_in_the_midst(): Receiver(parent).recv(); killed()
    threading.Thread(target=end_in_the_midst).start()
    for i in range(10**9):
        s.send({value})
for _ in range(5):
    p = spawn(victim); r = Receiver(p)
    assert r.recv() == -1
    i = 0
    try:
        while True:
            x = r.recv(timeout={LIMIT_S})
            assert {good}
            i += 1
            if i == 5: Sender(p).send("enough")
    except cmpi.PeerExited as error: print(error.status.signal, i >= 5)
""",
        options=options,
        timeout=60,
    )
    assert result.out == "9 True\n" * 5, result


def test_a_death_before_receiving_or_while_spawning_affects_no_other_process(job):
    result = job(
        PRELUDE
        + f"""
def deaf(parent): soon(killed, 0.2); time.sleep(60)
p = spawn(deaf)
s = Sender(p)
for i in range(100): s.send(i)
print(wait(p, timeout={LIMIT_S}).signal)
try: s.send(0)
except cmpi.PeerExited: print("told")
def grandchild(parent): time.sleep(0.3)
def spawner(parent):
    soon(killed, 0.03)
    while True: spawn(grandchild)
for _ in range(3): print(wait(spawn(spawner), timeout={LIMIT_S}).signal)
print(wait(spawn(lambda parent: None), timeout={LIMIT_S}))
"""
    )
    assert result.out.splitlines() == ["9", "told", "9", "9", "9", "0"], result


def test_a_value_that_cannot_be_unpickled_raises_in_recv(job):
    result = job(
        PRELUDE
        + f"""
class Bomb:
    def __reduce__(self): return (eval, ("1/0",))
ghost = types.ModuleType("ghost"); sys.modules["ghost"] = ghost
exec("def f(parent): pass", ghost.__dict__); ghost.f.__module__ = "ghost"
print(wait(spawn(lambda parent, x: None, Bomb()), timeout={LIMIT_S}))
print(wait(spawn(ghost.f), timeout={LIMIT_S}))
def child(parent):
    s = Sender(parent); s.send(Bomb()); s.send("fine")
r = Receiver(spawn(child))
try: r.recv()
except ZeroDivisionError: print("raised here")
print(r.recv())
def cannot(parent): Sender(parent).send(threading.Lock())
p = spawn(cannot)
print(wait(p, timeout={LIMIT_S}))
"""
    )
    lines = result.out.splitlines()
    assert lines[0] == "1: ZeroDivisionError: division by zero", result
    assert lines[1] == "1: ModuleNotFoundError: No module named 'ghost'", result
    assert lines[2:4] == ["raised here", "fine"], result
    assert lines[4].startswith("1: cmpi.errors.NotPicklable: value: cannot pickle"), result


def test_a_process_without_descriptors_left_still_talks_to_those_it_has_not_met(job):
    result = job(
        PRELUDE
        + """
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
def friend(parent):
    p = Receiver(parent).recv()
    print("got", Receiver(p).recv(), len(Receiver(p, name="large").recv()), flush=True)
def child(parent, friend):
    Sender(parent).send(0)
    held = []
    try:
        while True: held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError: pass
    Sender(friend).send("hello")
    Sender(friend, name="large").send(np.zeros(1_000_000))
f = spawn(friend); p = spawn(child, f)
Sender(f).send(p)
print(Receiver(p).recv(), wait(p), wait(f))
"""
    )
    assert sorted(result.out.splitlines()) == ["0 0 0", "got hello 1000000"], result


def test_a_jump_of_the_system_clock_has_no_effect(job):
    # cmpi never waits by the wall clock, which people set: a process that sees another year goes on.
    result = job(
        PRELUDE
        + """
def child(parent):
    time.time = lambda: 4e9
    r = Receiver(parent)
    try: r.recv(timeout=0.3)
    except TimeoutError: print("in time", flush=True)
    Sender(parent).send(0)
    print(r.recv(), flush=True)
p = spawn(child)
Receiver(p).recv(timeout=20)
Sender(p).send("fine"); print(wait(p))
"""
    )
    assert result.out.splitlines() == ["in time", "fine", "0"], result


@pytest.mark.parametrize("how", ["pass", "raise ValueError", "sys.exit(3)"])
def test_a_spawned_process_loses_nothing_that_it_wrote_to_files(job, tmp_path, how):
    text = """
import atexit, gzip, weakref
class Writer:
    def __del__(self): os.write(1, b"finalized\\n")
class Holder: pass
def child(parent, folder):
    global text, packed, cycle, writer, on_exit
    os.chdir(folder)
    text = open("text", "w"); text.write("12345")
    packed = gzip.open("packed", "wt"); packed.write("12345")
    cycle = Holder(); cycle.me = cycle; cycle.file = open("cycle", "w"); cycle.file.write("12345")
    writer = Writer()
    atexit.register(lambda: open("at exit", "w").write("12345"))
    weakref.finalize(cycle, lambda: open("finalizer", "w").write("12345"))
    threading.Thread(target=lambda: (time.sleep(0.1), open("thread", "w").write("12345"))).start()
    HOW
wait(spawn(child, sys.argv[1]))
"""
    folder = tmp_path / "out"
    folder.mkdir()
    result = job(PRELUDE + text.replace("HOW", how), str(folder))
    with gzip.open(folder / "packed", "rt") as packed:
        assert packed.read() == "12345", result
    (folder / "packed").unlink()
    found = {path.name: path.read_text() for path in folder.iterdir()}
    names = "text", "cycle", "at exit", "finalizer", "thread"
    assert found == dict.fromkeys(names, "12345") and result.out == "finalized\n", result


def test_a_closure_may_close_or_replace_its_standard_streams(job, tmp_path):
    result = job(
        PRELUDE
        + """
class Tee:
    def __init__(self, stream): self.stream = stream
    def write(self, text): self.stream.write(text); self.stream.flush()
def tee(parent): sys.stdout = Tee(sys.stdout); print("tee")
def silent(parent): sys.stdout = sys.stderr = None; print("nobody sees this")
def closed(parent): print("closed"); sys.stdout.close()
def detached(parent): print("detached", flush=True); sys.stdout.detach()
def loud(parent): sys.stdout = None; raise ValueError("shown")
for f in (tee, silent, closed, detached, loud): print(wait(spawn(f)), flush=True)
"""
    )
    assert result.out.split("\n")[:-1] == [
        "tee",
        "0",
        "0",
        "closed",
        "0",
        "detached",
        "0",
        "1: ValueError: shown",
    ]
    assert result.err.count("ValueError: shown\n") >= 1, result


def test_the_report_names_an_exception_by_its_type_and_message(job):
    result = job(
        PRELUDE
        + r"""
def noted(parent): e = ValueError("bad row"); e.__notes__ = ["on page 7"]; raise e
def grouped(parent): raise ExceptionGroup("two", [ValueError(1), KeyError(2)])
def surrogate(parent): raise ValueError("\ud800 lone")
def broken(parent):
    class Odd(Exception):
        def __str__(self): raise TypeError
    raise Odd
for f in (noted, surrogate, broken, *([grouped] if sys.version_info >= (3, 11) else [])):
    print(wait(spawn(f)), flush=True)
"""
    )
    lines = result.out.splitlines()
    assert lines[:2] == ["1: ValueError: bad row", r"1: ValueError: \ud800 lone"], result
    assert "Odd: <exception str() failed>" in lines[2], result
    assert lines[3:] in ([], ["1: ExceptionGroup: two (2 sub-exceptions)"]), result


@pytest.mark.parametrize("mpi", [False, True])
def test_an_end_is_reported_when_the_process_is_gone_even_if_its_monitor_was_killed(job, mpi):
    """The kernel closes the monitor's connections before it kills the process, and frees memory slowly."""
    text = f"""
def victim(parent):
    kept = bytearray(os.urandom(4096)) * 50_000
    sender = Sender(parent)
    sender.send((os.getppid(), os.getpid()))
    Receiver(parent).recv()
def runs(pid):
    try: return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError: return False
for i in range(3):
    p = spawn(victim, mpi={mpi})
    receiver = Receiver(p)
    monitor, pid = receiver.recv()
    os.kill(monitor, 9)
    if i % 2:
        status = wait(p, timeout={LIMIT_S})
    else:
        try: receiver.recv()
        except cmpi.PeerExited as error: status = error.status
    print(runs(pid), status)
"""
    result = job(PRELUDE + text)
    assert result.out == "False signal 9 (SIGKILL): its monitor was lost\n" * 3, result
