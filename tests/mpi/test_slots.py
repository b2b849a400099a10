"""Slots: one process after another in one MPI_Comm_spawn, and MPI only in processes that use it."""

PRELUDE = """
import os, random, resource, signal, subprocess, sys, threading, time, warnings
import cmpi
import mpi4py
def ask(f, **how):
    return cmpi.Receiver(cmpi.spawn(lambda parent: cmpi.Sender(parent).send(f()), **how)).recv(timeout=30)
def ask_and_wait(f, **how):
    p = cmpi.spawn(lambda parent: cmpi.Sender(parent).send(f()), **how)
    return cmpi.Receiver(p).recv(timeout=30), cmpi.wait(p, timeout=30)
"""


def test_processes_that_do_not_use_mpi_run_in_the_same_slots_however_they_end(program):
    text = """
monitors = []
for how in ("pass", "sys.exit(1)", "os._exit(3)", "os.kill(os.getpid(), 9)"):
    def f(parent, how=how):
        cmpi.Sender(parent).send(os.getppid())
        exec(how, {"os": os, "sys": sys})
    codes = set()
    for _ in range(10):
        p = cmpi.spawn(f)
        monitors.append(cmpi.Receiver(p).recv())
        codes.add(cmpi.wait(p).code)
    print(*codes)
print(len(set(monitors)) <= 10)
"""
    assert program(text).splitlines() == ["0", "1", "3", "137", "True"]


def test_nothing_crosses_from_one_process_to_the_next_in_its_slot(program):
    text = """
def state():
    status = open("/proc/self/status").read()
    children = open(f"/proc/self/task/{os.getpid()}/children").read()
    numbers = sorted(os.listdir("/proc/self/fd"), key=int)
    links = [f"/proc/self/fd/{n}" for n in numbers]
    links = [os.readlink(link).partition(":")[0] for link in links if os.path.lexists(link)]
    kept = ("Umask", "SigBlk", "SigIgn", "SigCgt", "Groups", "Seccomp", "Cpus_allowed_list", "NoNewPrivs")
    return {
        "status": [line for line in status.splitlines() if line.split(":")[0] in kept],
        "cwd": os.getcwd(), "environment": dict(os.environ), "nice": os.nice(0),
        "path": sys.path, "argv": sys.argv, "modules": "antigravity_of_test" in sys.modules,
        "limits": [resource.getrlimit(number) for number in range(16)],
        "descriptors": sorted(links),
        "numbers": numbers,
        "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(),
        "cgroup": open("/proc/self/cgroup").read(), "threads": threading.active_count(),
        "script": "dirty" in vars(sys.modules["__main__"]), "children": children,
        "oom": open("/proc/self/oom_score_adj").read(),
    }, random.random(), os.getppid()
def dirty():
    first = state()
    os.environ["LEFT"] = "behind"; os.chdir("/"); os.umask(0o77); os.nice(3)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    sys.path.append("/left/behind"); sys.argv.append("left"); sys.modules["antigravity_of_test"] = sys
    for _ in range(5): os.open("/dev/zero", os.O_RDONLY)
    threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
    random.seed(1)
    return first
fresh = {}
for _ in range(12):
    (clean, number, monitor), _ = ask_and_wait(dirty)
    if monitor in fresh:
        for name, value in fresh[monitor][0].items():
            if clean[name] != value: print(name, value, clean[name])
        if fresh[monitor][1] == number: print("the same random numbers")
    fresh[monitor] = clean, number
print(len(fresh) < 12)
"""
    assert program(text) == "True\n"


def test_starting_a_process_in_a_slot_imports_no_module(program):
    # What it imports takes time and memory in each process. Modules of the fork server are frozen.
    text = """
import gc, types
def imported():
    modules = {m.__name__ for m in gc.get_objects() if isinstance(m, types.ModuleType)}
    return sorted(modules & set(sys.modules) - {"__main__", "__mp_main__"})
print(ask_and_wait(imported)[0])
"""
    assert program(text) == "[]\n"


def test_mpi_starts_when_it_is_imported_and_not_before(program):
    text = """
def where():
    before = "mpi4py.MPI" in sys.modules, any(name.startswith(("PMI_", "PMIX_RANK")) for name in os.environ)
    from mpi4py import MPI
    level = MPI.Query_thread() == MPI.THREAD_MULTIPLE
    return os.getppid(), str((before, MPI.Is_initialized(), MPI.COMM_WORLD.size, level))
def library():
    import mpi4py.util.pkl5, mpi4py.MPI
    return mpi4py.MPI.COMM_WORLD.Get_rank()
def in_a_thread():
    import cmpi._transport.mpi as transport, time
    start = transport.start_as_mpi4py_does
    def slow_start(): time.sleep(0.2); start()
    transport.start_as_mpi4py_does = slow_start  # all threads import the module meanwhile
    found = []
    def use():
        from mpi4py import MPI
        found.append(MPI.COMM_WORLD.allreduce(1))
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return found
def funneled():
    import mpi4py
    mpi4py.rc.thread_level = "funneled"
    from mpi4py import MPI
    return MPI.Is_initialized()
def own():
    import mpi4py
    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI
    was = MPI.Is_initialized()
    MPI.Init(); MPI.COMM_WORLD.barrier(); MPI.Finalize()
    return was, MPI.Is_finalized()
def forked():
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
    read, write = os.pipe()
    if os.fork() == 0:
        from mpi4py import MPI
        os.write(write, b"%d" % MPI.Is_initialized())
        os._exit(0)
    os.wait()
    return os.read(read, 1)
seen = [ask_and_wait(where) for _ in range(3)]
print(len({monitor for (monitor, _), _ in seen}), *{how for (_, how), _ in seen})
for f in (library, in_a_thread, funneled, own, forked): print(*map(str, ask_and_wait(f)))
print(ask(lambda: (mpi4py.MPI.Is_initialized(), MPI_IS_THERE()), mpi=True))
""".replace("MPI_IS_THERE()", '"mpi4py.MPI" in sys.modules')
    out = program(text).splitlines()
    assert out[0] == "3 ((False, False), True, 1, True)", out
    expected = ["0 0", "[1, 1, 1] 0", "True 0", "(False, True) 0", "b'0' 0", "(True, True)"]
    assert out[1:] == expected


def test_receiving_an_mpi_object_starts_mpi(job):
    text = """
from mpi4py import MPI
comm, double = MPI.COMM_WORLD, MPI.DOUBLE
def use(parent): cmpi.Sender(parent).send((comm.size, double.Get_size(), MPI.Is_initialized()))
def receive(parent):
    found = cmpi.Receiver(parent).recv()
    cmpi.Sender(parent).send((found.Get_size(), "mpi4py.MPI" in sys.modules))
print(cmpi.Receiver(cmpi.spawn(use)).recv())
p = cmpi.spawn(receive)
cmpi.Sender(p).send(MPI.INT)
print(cmpi.Receiver(p).recv())
"""
    result = job(PRELUDE + text)
    assert (result.code, result.out, result.err) == (0, "(1, 8, True)\n(4, True)\n", ""), result


def test_an_mpi_program_started_by_a_process_is_a_world_of_its_own(program):
    text = """
command = [sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"]
def run():
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout
print(ask_and_wait(run))
"""
    assert program(text).startswith("('1\\n', ExitStatus(code=0")


def test_mpi_is_started_for_a_preloaded_module_that_imports_it(job, jobs):
    (jobs.folder / "holder.py").write_text("from mpi4py import MPI\n")
    text = """
print(ask(lambda: "holder" in sys.modules))
cmpi.preload("holder")
def use():
    import holder
    return holder.MPI.Is_initialized(), holder.MPI.COMM_WORLD.size
print([ask_and_wait(use)[0] for _ in range(3)])
"""
    result = job(PRELUDE + text)
    expected = "False\n[(True, 1), (True, 1), (True, 1)]\n"
    assert (result.code, result.out, result.err) == (0, expected, ""), result


def test_objects_of_modules_are_finalized_whenever_they_were_imported(job, jobs):
    for name in ("early", "late"):
        (jobs.folder / f"{name}.py").write_text("""
class Held:
    def __del__(self): print(__name__, flush=True)
held = Held()
""")
    text = """
cmpi.preload("early")
while not ask_and_wait(lambda: "early" in sys.modules)[0]: pass
def both():
    import early, late
    return early.__name__, late.__name__
ask_and_wait(both)
"""
    result = job(PRELUDE + text)
    assert (result.code, result.err) == (0, ""), result
    assert result.out.endswith("late\nearly\n"), result


def test_a_slot_stays_taken_until_leftover_processes_have_ended(program):
    text = """
def leave():
    return os.getppid(), subprocess.Popen(["sleep", "60"], start_new_session=True).pid
(monitor, left), _ = ask_and_wait(leave)
print(monitor in [ask_and_wait(os.getppid)[0] for _ in range(3)])
os.kill(left, 9)
while os.path.exists(f"/proc/{monitor}"):  # a slot that nobody needs for a while is given up
    if monitor in [ask_and_wait(os.getppid)[0] for _ in range(6)]: break
"""
    assert program(text) == "False\n"


def test_a_process_exits_with_pythons_own_cleanup(program, tmp_path):
    text = f"""
import atexit, ctypes
def f(parent):
    atexit.register(print, "at exit", flush=True)
    global kept
    kept = open({str(tmp_path / "kept")!r}, "w"); kept.write("written")
    ctypes.CDLL(None).printf(b"from C\\n")
    threading.Thread(target=lambda: (time.sleep(0.1), print("from a thread", flush=True))).start()
print(cmpi.wait(cmpi.spawn(f)).ok, flush=True)
print(open({str(tmp_path / "kept")!r}).read())
"""
    out = program(text)
    assert sorted(out.splitlines()) == ["True", "at exit", "from C", "from a thread", "written"]
