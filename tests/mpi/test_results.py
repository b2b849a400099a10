"""What a spawned function returns or raises, `run`, and what spawn checks about a function beforehand."""

import pytest

PRELUDE = """
import asyncio, os, sys, threading
import cmpi
from cmpi import Receiver, Sender
"""


def test_results_and_exceptions_come_back_when_asked_for(job):
    text = """
import numpy as np
class Stop(Exception):
    def __init__(self, a, b): super().__init__(a); self.b = b   # cannot be unpickled
class Plain(ValueError): pass
def returns(parent, x, *, y): return x + y
def raises(parent):
    def inner(): raise Plain("no such column")
    with Sender(parent): inner()
def raises_what_cannot_travel(parent): raise Stop(1, 2)
def returns_what_cannot_travel(parent): return threading.Lock()
def exits(parent, code): sys.exit(code)
def large(parent): return np.ones(5_000_000)
async def coroutine(parent, x):
    await asyncio.sleep(0)
    return x
def spawn(f, *args, **kwargs): return cmpi.spawn(f, *args, kwargs=kwargs, result=True)
asked = [spawn(returns, 1, y=2), spawn(raises), spawn(raises_what_cannot_travel),
    spawn(returns_what_cannot_travel), spawn(exits, 0), spawn(exits, 3), spawn(large), spawn(coroutine, 5),
    spawn(lambda parent: Plain)]
unasked = spawn(returns, 3, y=4)
for pid in asked:
    try:
        value = cmpi.result(pid)
        print("value", value if not isinstance(value, np.ndarray) else value.sum())
    except Exception as error:
        cause, lines = str(error.__cause__), str(error).replace(f" {pid}", "").strip().splitlines()
        print(type(error).__name__, lines[0], "in inner" in cause, "worker" in cause)
try: cmpi.result(asked[0])
except cmpi.UsageError as error: print("once" in str(error))
killed = spawn(lambda parent: threading.Event().wait())
try: cmpi.result(killed, timeout=0.01)
except TimeoutError as error: print(str(error).partition(" ")[2])
cmpi.kill(killed)
try: cmpi.result(killed)
except cmpi.PeerExited as error: print(error.status.signal)
async def main():
    pids = [await cmpi.aspawn(returns, i, kwargs={"y": i}, result=True) for i in range(3)]
    print(await asyncio.gather(*map(cmpi.aresult, pids)))
    try: await cmpi.aresult(await cmpi.aspawn(raises, result=True))
    except Plain as error: print("Plain", "in inner" in str(error.__cause__))
asyncio.run(main())
group = cmpi.spawn_group(2, lambda parent: cmpi.world().index(cmpi.pid()), result=True)
print([cmpi.result(pid) for pid in group])
"""
    result = job(PRELUDE + text)
    assert result.out.splitlines() == [
        "value 3",
        "Plain no such column True False",
        'RemoteTraceback """ False False',
        "NotPicklable value -> item 1: cannot pickle '_thread.lock' object False False",
        "value None",
        "PeerExited the peer has ended: 3 False False",
        "value 5000000.0",
        "value 5",
        "value <class '__main__.Plain'>",
        "True",
        "has not returned within 0.01 s",
        "9",
        "[0, 2, 4]",
        "Plain True",
        "[0, 1]",
    ], result


def test_wrong_functions_and_arguments_are_refused_before_anything_starts(program):
    text = """
def work(x): pass
def generator(parent): yield 1
class Job:
    async def __call__(self, parent): print("ran", flush=True)
class Lazy:
    def __call__(self, parent): yield 1
before = cmpi.capacity().free
for call in (lambda: cmpi.spawn(work, 3), lambda: cmpi.spawn(generator), lambda: cmpi.spawn(Lazy()),
             lambda: cmpi.spawn(work, kwargs=5), lambda: cmpi.spawn(10**5000),
             lambda: cmpi.spawn(work, resources={"cpus": 2})):
    try: call()
    except cmpi.UsageError as error: print(type(error).__name__, isinstance(error, TypeError), error)
print(cmpi.wait(cmpi.spawn(Job())))
print(cmpi.capacity().free == before)
"""
    lines = program(text).splitlines()
    assert lines[0].startswith(
        "WrongArguments True spawn calls work(parent, 3), which work(x) does not accept"
    )
    assert lines[0].endswith(
        "The first argument is the Pid of the process that spawned it: def work(parent, ...)."
    )
    assert lines[1].startswith("UsageError False generator is a generator function")
    assert lines[2].startswith("UsageError False Lazy is a generator function")
    assert lines[3] == "UsageError False kwargs must be a dictionary of keyword arguments; found 5"
    assert lines[4].endswith("found int: <an int of about 4983 digits>")
    assert lines[5] == (
        "UsageError False resources takes cmpi.Resources, such as Resources(cpus=2); found {'cpus': 2}"
    )
    assert sorted(lines[6:]) == ["0", "True", "ran"]


def test_messages_about_values_are_short_whatever_the_values(program):
    text = """
class NoRepr:
    def __repr__(self): raise RuntimeError("no repr")
    def __init__(self): self.lock = threading.Lock()
def sink(parent): Receiver[object](parent, name="x").recv()
kid = cmpi.spawn(sink)
texts, objects = Sender[str](kid, name="a"), Sender[object](kid, name="b")
deep = None
for i in range(50_000): deep = [deep, i]
many = {i: str(i) for i in range(100_000)}; many["x"] = threading.Lock()
found = []
long_key = {tuple(range(10**5)): threading.Lock()}
trials = [(texts, value) for value in (10**5000, NoRepr(), list(range(10**6)))]
trials += [(objects, value) for value in (NoRepr(), long_key, {NoRepr(): 1}, deep, many)]
for sender, value in trials:
    try: sender.send(value)
    except (cmpi.ContractMismatch, cmpi.NotPicklable) as error: found.append(len(str(error)) < 400)
print(found)
cmpi.kill(kid)
"""
    assert program(text) == f"{[True] * 8}\n"


@pytest.mark.slow
def test_run_starts_a_job_and_returns_what_its_ranks_return(jobs):
    text = """
import sys
import cmpi
class Plain(ValueError): pass
class Point:
    def __init__(self, x): self.x = x
def work(point, scale=1):
    try: cmpi.run(work, point)
    except cmpi.UsageError: return Point(point.x * scale + cmpi.world().index(cmpi.pid()))
def fails():
    if cmpi.world().index(cmpi.pid()) == 1: raise Plain("no such column")
    from mpi4py import MPI
    MPI.COMM_WORLD.barrier()
def ends(): sys.exit(3)
one = cmpi.run(work, Point(5), kwargs={"scale": 2})
print(type(one) is Point, one.x, [p.x for p in cmpi.run(work, Point(1), n=2)], flush=True)
try: cmpi.run(fails, n=2)
except Plain as error: print(error, "in fails" in str(error.__cause__), flush=True)
for call in (lambda: cmpi.run(ends), lambda: cmpi.run(work, Point(1), no_such_option=True),
             lambda: cmpi.run(work), lambda: cmpi.run(work, Point(1), n=0)):
    try: call()
    except Exception as error: print(type(error).__name__, flush=True)
"""
    result = jobs.run("python", jobs.script(text))
    assert result.code == 0, result
    lines = [line for line in result.out.splitlines() if line.strip()]
    assert lines == [
        "True 10 [1, 2]",
        "no such column True",
        "LaunchError",
        "UsageError",
        "WrongArguments",
        "UsageError",
    ], result


def test_an_exit_status_has_no_truth_value():
    import cmpi

    for code in (0, 1):
        with pytest.raises(cmpi.UsageError, match=r"\.ok"):
            bool(cmpi.ExitStatus(code))
