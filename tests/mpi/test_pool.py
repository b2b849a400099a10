"""`ProcessPool` with real workers: results, deaths, time limits, sharing, other libraries on top."""

import re

import pytest

PRELUDE = """
import os, signal, sys, time, threading
import cmpi
from cmpi import ProcessPool
from concurrent.futures import TimeoutError, as_completed

def square(x): return x * x
def fails(x): raise ValueError(f"no {x}")
def dies(how, x=0):
    if how == "exit": os._exit(3)
    if how == "clean exit": os._exit(0)
    if how == "segv": import ctypes; ctypes.string_at(0)
    os.kill(os.getpid(), how)
def dies_at_first(path, times, result):
    with open(path, "a") as file: file.write("x")
    if os.path.getsize(path) <= times: os._exit(3)
    return result
def sleeps(seconds): time.sleep(seconds); return seconds
def says(error):
    print(type(error).__name__, str(error).replace(str(getattr(error, "pid", "?")), "PID"))
"""


@pytest.fixture
def pool_job(job):
    def run(text, *arguments, **kwargs):
        result = job(PRELUDE + text, *arguments, **kwargs)
        assert result.code == 0, result
        return result.out

    return run


def test_results_and_exceptions_of_tasks_are_returned(pool_job):
    out = pool_job("""
with ProcessPool(2) as pool:
    print(pool.submit(square, 3).result(), sorted(f.result() for f in as_completed(
        [pool.submit(square, i) for i in range(5)])))
    print(list(pool.map(square, range(5))), list(pool.map(pow, range(4), [2] * 4)))
    k = 10
    print(list(pool.map(lambda x: x + k, range(3))), pool.submit(divmod, 7, 2).result())
    try: pool.submit(fails, 3).result()
    except ValueError as error:
        trace = str(error.__cause__)
        print(error, "in fails" in trace, "worker.py" in trace)
    results = pool.map(lambda x: 1 // x, [1, 1, 0, 1], chunksize=4)
    print(next(results), next(results))
    try: next(results)
    except ZeroDivisionError as error: print(error)
    for task in ((square, threading.Lock()), (threading.Lock,)):
        try: pool.submit(*task).result()
        except cmpi.NotPicklable as error: print(error)
    future = pool.submit(print, "from a task"); future.result(); print(repr(future.output()))
    print(pool.statistics().completed > 10, repr(pool)[:24], "<table>" in pool._repr_html_())
try: pool.submit(square, 1)
except RuntimeError as error: print(error)
""")
    assert out.replace("from a task\n", "", 1).splitlines() == [
        "9 [0, 1, 4, 9, 16]",
        "[0, 1, 4, 9, 16] [0, 1, 4, 9]",
        "[10, 11, 12] (3, 1)",
        "no 3 True False",
        "1 1",
        "integer division or modulo by zero",
        "argument 0: cannot pickle '_thread.lock' object",
        "the result: cannot pickle '_thread.lock' object",
        "'from a task\\n'",
        "True <ProcessPool: 2 workers, True",
        "cannot schedule new futures after shutdown",
    ]


def test_a_task_that_waits_to_be_tried_again_is_not_cancelled_but_can_be_killed(pool_job):
    out = pool_job("""
with ProcessPool(1) as pool:
    task = pool.options(retries=2).submit(dies, "exit")
    while not pool.statistics().deaths: time.sleep(0.01)
    while not task.done():
        assert not task.cancel()
        time.sleep(0.005)
    says(task.exception())
    task = pool.options(retries=100).submit(dies, "exit")
    while pool.statistics().deaths < 5: time.sleep(0.01)
    task.kill()
    print(type(task.exception()).__name__, pool.submit(square, 5).result(), pool.max_workers)
""")
    assert out.splitlines() == [
        "WorkerDied worker PID ended while it ran dies: 3; dies has ended 3 workers and is not tried again",
        "TaskKilled 25 1",
    ]


def test_a_workers_death_fails_only_its_task_and_names_the_cause(pool_job, jobs):
    out = pool_job(
        """
with ProcessPool(2) as pool:
    others = [pool.submit(square, i) for i in range(20)]
    for how in ("exit", "clean exit", signal.SIGKILL, "segv"):
        try: pool.submit(dies, how).result()
        except cmpi.WorkerDied as error: says(error)
    print(sum(f.result() for f in others), pool.submit(square, 5).result())
    path = sys.argv[1]
    print(pool.options(retries=2).submit(dies_at_first, path, 2, "third time").result())
    try: pool.options(retries=1).submit(dies, "exit").result()
    except cmpi.WorkerDied as error: says(error)
    print(list(pool.options(retries=1).map(lambda x: dies_at_first(path + "2", 1, x), range(3))))
""",
        str(jobs.folder / "tries"),
    )
    assert out.splitlines() == [
        "WorkerDied worker PID ended while it ran dies: 3",
        "WorkerDied worker PID ended while it ran dies: 0",
        "WorkerDied worker PID ended while it ran dies: signal 9 (SIGKILL)",
        "WorkerDied worker PID ended while it ran dies: signal 11 (SIGSEGV)",
        "2470 25",
        "third time",
        "WorkerDied worker PID ended while it ran dies: 3; dies has ended 2 workers and is not tried again",
        "[0, 1, 2]",
    ]


def test_tasks_end_by_their_time_limit_by_kill_and_with_their_pool(pool_job):
    out = pool_job("""
with ProcessPool(1) as pool:
    pool.submit(square, 1).result()
    try: pool.options(timeout=0.3).submit(sleeps, 100).result()
    except TimeoutError as error: says(error)
    running = pool.submit(sleeps, 100)
    while not running.running(): time.sleep(0.01)
    waiting = pool.submit(sleeps, 100)
    print(running.cancel(), waiting.cancel(), waiting.cancelled())
    running.kill()
    try: running.result()
    except cmpi.TaskKilled as error: says(error)
    print(pool.submit(square, 2).result())
try:
    with ProcessPool(1) as pool:
        long = pool.submit(sleeps, 100)
        raise KeyError("out")
except KeyError: print(type(long.exception()).__name__)
pool = ProcessPool(1)
slow = pool.map(sleeps, [100, 100])
while not pool.statistics().running: time.sleep(0.01)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try: next(slow)
except KeyboardInterrupt: print("interrupted")
pool.shutdown()
""")
    assert out.splitlines() == [
        "TimeoutError sleeps ran longer than its timeout; its worker was ended",
        "False True True",
        "TaskKilled sleeps was ended by kill()",
        "4",
        "TaskKilled",
        "interrupted",
    ]


def test_initializers_options_and_limits_apply_to_workers(pool_job):
    out = pool_job("""
state = {}
def begin(x): state["x"] = x
def state_of(_): return state.get("x")
def bad(): raise OSError("no such model")
with ProcessPool(2, initializer=begin, initargs=(7,), max_tasks_per_child=3) as pool:
    print(set(pool.map(state_of, range(6), chunksize=1)))
    print(len(set(pool.map(lambda _: os.getpid(), range(9), chunksize=1))) >= 3)
try:
    with ProcessPool(1, initializer=bad) as pool: pool.submit(square, 1).result()
except cmpi.PoolBroken as error: print(error, "|", repr(error.__cause__))
with ProcessPool(1, max_pending=2) as pool:
    began = time.monotonic()
    for _ in range(4): pool.submit(sleeps, 0.2)
    print(time.monotonic() - began > 0.15)
    pool.resize(2)
    pool.submit(square, 1).result()
    print(pool.statistics().workers)
    read = []
    def numbers():
        for i in range(1000): read.append(i); yield i
    results = pool.map(square, numbers(), buffersize=10)
    print(next(results), len(read) <= 11); results.close()
    print(sorted(pool.map(sleeps, [0.2, 0.01], ordered=False, chunksize=1)))
for wrong in (dict(max_workers=0), dict(max_tasks_per_child=0)):
    try: ProcessPool(**wrong)
    except cmpi.UsageError as error: print(error)
""")
    assert out.splitlines() == [
        "{7}",
        "True",
        "no worker of the pool could be started, three times in a row | OSError('no such model')",
        "True",
        "2",
        "0 True",
        "[0.01, 0.2]",
        "max_workers must be greater than 0; found 0",
        "max_tasks_per_child must be greater than 0; found 0",
    ]


@pytest.mark.parametrize("options", [(), ("--shared-memory", "0")], ids=["rings", "sockets"])
def test_a_task_may_be_an_mpi_world_or_have_its_own_resources(pool_job, options):
    text = """
def world(x):
    from mpi4py import MPI
    return MPI.COMM_WORLD.size, MPI.COMM_WORLD.allreduce(x)
with ProcessPool(1) as pool:
    print(pool.options(ranks=3).submit(world, 5).result())
    mine = pool.submit(cmpi.resources).result()
    larger = pool.options(resources=cmpi.Resources(cpus=0.1, memory="200 MiB"))
    print(mine.memory_bytes != larger.submit(cmpi.resources).result().memory_bytes == 200 << 20)
"""
    assert pool_job(text, options=options).splitlines() == ["(3, 15)", "True"]


def test_arrays_are_shared_once_and_can_only_be_read(pool_job):
    out = pool_job("""
import numpy as np
def look(a, i): return float(a[i]), a.flags.writeable
def files(): return len([n for n in os.listdir(cmpi_folder) if "-cmpi-pool" in n])
from cmpi._runtime.process import context
a = np.arange(1 << 18, dtype=float)
with ProcessPool(2) as pool:
    cmpi_folder = context.current().state.shared_memory
    big = pool.share({"a": a})
    print([pool.submit(lambda d, i: look(d["a"], i), big, i).result() for i in range(2)], files())
    del big
    print(list(pool.map(lambda i: look(a, i), range(2))), "captured")
    print([pool.submit(look, a, i).result() for i in range(3)], "repeated")
    a[1] = 77
    print(pool.submit(look, a, 1).result(), "changed")
    small = pool.share(np.arange(3.0))
    print(pool.submit(look, small, 1).result())
    import pickle
    try: pickle.dumps(small)
    except TypeError as error: print(error)
del small
print(files() <= 1)
""")
    assert out.splitlines() == [
        "[(0.0, False), (1.0, False)] 1",
        "[(0.0, False), (1.0, False)] captured",
        "[(0.0, True), (1.0, False), (2.0, False)] repeated",
        "(77.0, False) changed",
        "(1.0, True)",
        "a shared object can only be sent to tasks of its own pool",
        "True",
    ]


def test_a_pool_can_be_used_in_an_event_loop(pool_job):
    out = pool_job("""
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    async with ProcessPool(2) as pool:
        print(await pool.asubmit(square, 3), await loop.run_in_executor(pool, square, 4))
        print([x async for x in pool.amap(square, range(4))])
        print(await asyncio.gather(*(pool.asubmit(square, i) for i in range(4))))
        task = asyncio.create_task(pool.asubmit(sleeps, 100))
        while not pool.statistics().running: await asyncio.sleep(0.01)
        task.cancel()
        try: await task
        except asyncio.CancelledError: print("cancelled", pool.submit(square, 5).result())
asyncio.run(main())
""")
    assert out.splitlines() == ["9 16", "[0, 1, 4, 9]", "[0, 1, 4, 9]", "cancelled 25"]


def test_pools_work_in_tasks_threads_and_forks_and_may_be_left_open(pool_job, jobs):
    out = pool_job("""
def nested(n):
    with ProcessPool(1) as inner: return sum(inner.map(square, range(n)))
pool = ProcessPool(2)
print(pool.submit(nested, 4).result())
try: pool.submit(lambda: pool).result()
except cmpi.NotPicklable as error: print(error)
found = []
def use(): found.append(sum(pool.map(square, range(100))))
threads = [threading.Thread(target=use) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(found == [328350] * 4)
if os.fork() == 0:
    try: pool.submit(square, 1)
    except cmpi.NotRunning as error: print(error, flush=True)
    os._exit(0)
os.wait()
""")
    lines = out.splitlines()
    assert lines[0] == "14" and "belongs to its process" in lines[1] and lines[2] == "True"
    assert "forked" in lines[3]
    assert not jobs.leftovers(), "a pool that was left open ends with its process"


def test_workers_end_with_a_pools_process_that_is_killed_in_the_middle_of_a_task(job, jobs):
    result = job(
        PRELUDE
        + """
pool = ProcessPool(2)
futures = [pool.submit(sleeps, 1000) for _ in range(2)]
while pool.statistics().running < 2: time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    )
    assert result.code == 137


def test_joblib_runs_its_tasks_on_a_pool(pool_job):
    pytest.importorskip("joblib")
    out = pool_job("""
import joblib, cmpi.joblib
with joblib.parallel_config("cmpi", n_jobs=2):
    print(joblib.Parallel()(joblib.delayed(square)(i) for i in range(10)))
    print(len(set(joblib.Parallel(batch_size=1)(joblib.delayed(lambda: (time.sleep(0.05), os.getpid())[1])()
        for _ in range(8)))))
    try: joblib.Parallel()(joblib.delayed(fails)(i) for i in range(4))
    except ValueError as error: print(str(error)[:3])
""")
    assert out.splitlines() == [str([i * i for i in range(10)]), "2", "no "]


def test_tasks_behind_one_that_takes_long_run_elsewhere(pool_job, jobs):
    out = pool_job(
        """
path = sys.argv[1]
def waits(i):
    while i == 200 and not os.path.exists(path): time.sleep(0.01)
    return os.getpid()
with ProcessPool(2) as pool:
    futures = [pool.submit(waits, i) for i in range(600)]
    late = futures.pop(200)
    others = {future.result() for future in futures}
    print(late.done(), len(others))
    open(path, "w").close()
    print(late.result() in others, pool.statistics().deaths, pool.statistics().completed)
    print(sum(pool.submit(square, i).result() for i in range(10)))
""",
        str(jobs.folder / "go on"),
    )
    assert out.splitlines() == ["False 2", "True 0 600", "285"]


def test_dask_runs_a_graph_on_a_pool(pool_job):
    pytest.importorskip("dask")
    out = pool_job("""
import dask
with ProcessPool(2) as pool, dask.config.set(scheduler=pool):
    squares = [dask.delayed(square)(i) for i in range(10)]
    print(dask.delayed(sum)(squares).compute(), pool.statistics().completed > 0)
""")
    assert out.splitlines() == ["285 True"]


def test_tqdms_process_map_and_scikit_learn_run_on_a_pool(pool_job):
    pytest.importorskip("tqdm")
    pytest.importorskip("sklearn")
    text = """
import joblib, cmpi.joblib
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
import numpy as np
from tqdm.contrib.concurrent import _executor_map
class OfPool(ProcessPool):
    def __init__(self, max_workers, initializer, initargs):  # tqdm wants to share a lock
        super().__init__(max_workers)
print(_executor_map(OfPool, square, range(5), max_workers=2, disable=True))
x = np.random.default_rng(1).normal(size=(60, 3))
with joblib.parallel_config("cmpi", n_jobs=2):
    search = GridSearchCV(Ridge(), {"alpha": [0.01, 1e6]}).fit(x, x @ [1.0, 2.0, 3.0])
print(search.best_params_)
"""
    out = pool_job(text, timeout=60)  # importing scikit-learn takes long
    assert out.splitlines() == ["[0, 1, 4, 9, 16]", "{'alpha': 0.01}"]


def test_a_task_that_exceeds_its_memory_fails_alone_with_that_reason(pool_job):
    out = pool_job("""
def hog(mib):
    data = bytearray(mib << 20)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(30)
with ProcessPool(2, resources=cmpi.Resources(memory="150 MiB")) as pool:
    others = [pool.submit(square, i) for i in range(20)]
    try: pool.submit(hog, 400).result()
    except cmpi.WorkerDied as error: print(str(error).partition(": signal")[2])
    print(sum(f.result() for f in others), pool.submit(square, 5).result())
""")
    verdict, numbers = out.splitlines()
    assert re.match(r" 9 \(SIGKILL\): out of memory: asked 150 MiB, used [\d.]+ [MG]iB", verdict), out
    assert numbers == "2470 25"


def test_a_million_tasks_take_no_more_memory_than_ten_thousand(pool_job):
    out = pool_job("""
import psutil
def peak():
    "The memory of this process and its workers in MiB."
    return max(psutil.Process(pid).memory_info().rss for pid in [os.getpid(), *workers]) / 2**20
with ProcessPool(2) as pool:
    workers = {pool.submit(os.getpid).result() for _ in range(20)}
    for n in (10_000, 1_000_000):
        assert sum(1 for _ in pool.map(abs, range(n))) == n
        print(peak())
""")
    before, after = map(float, out.split())
    assert after < before + 15, out
