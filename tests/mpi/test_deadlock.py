"""Deadlocks are reported, and nothing else is taken for one; stacks on Ctrl-\\."""

import re
import signal
import time

import pytest

PRELUDE = """
import asyncio, cmpi, numpy as np, os, sys, time, threading, signal, socket
from cmpi import Receiver, Sender, spawn, wait, select
async def many(*waits): await asyncio.gather(*waits)
"""
IN_C = """
def call_from_c(f, seconds):  # in a thread of libc's, as those of sound cards and cameras do
    import ctypes
    libc, long, pointer = ctypes.CDLL(None), ctypes.c_long, ctypes.c_void_p
    call, timer = ctypes.CFUNCTYPE(None, pointer)(lambda _: f()), pointer()
    event = (long * 8)(0, 2 << 32, ctypes.cast(call, pointer).value)  # struct sigevent, SIGEV_THREAD
    assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
    assert libc.timer_settime(timer, 0, (long * 4)(0, 0, seconds, 0), None) == 0
    return call
"""

DEADLOCKS = {
    "recv": ("Receiver(parent).recv()", "Receiver(p).recv()", ("recv from", "recv from")),
    "wait": ("Receiver(parent).recv()", "wait(p)", ("recv from", "wait for")),
    "select": (
        "Receiver(parent).recv()",
        "select(Receiver(p), Receiver(p, name='x'))",
        ("recv from", "select of"),
    ),
    "await": (
        "asyncio.run(Receiver(parent).arecv())",
        "asyncio.run(cmpi.await_exit(p))",
        ("recv from", "wait for"),
    ),
    "tasks": (
        "s = Sender(parent, capacity=1); s.send(1); asyncio.run(many(s.asend(2), asyncio.Event().wait()))",
        "asyncio.run(many(Receiver(p, name='x').arecv(), asyncio.to_thread(int)))",
        ("send to", "recv from"),
    ),
    "send": (
        "s = Sender(parent, capacity=1); s.send(1); s.send(2)",
        "Receiver(p, name='other').recv()",
        ("send to", "recv from"),
    ),
}


@pytest.mark.parametrize("how", DEADLOCKS)
def test_a_deadlock_ends_the_job_with_a_report_of_all_waits(jobs, job, how):
    child, parent, words = DEADLOCKS[how]
    result = job(PRELUDE + f"def child(parent):\n    {child}\np = spawn(child)\n{parent}\n")
    assert result.code == 86, result
    assert "deadlock: all processes of the job wait" in result.err
    for word, line in zip(words, (6, 8)):
        assert f"{word} " in result.err and f"job.py:{line}, for " in result.err, result


BUSY = {
    "computes": "end = time.monotonic() + 4\n    while time.monotonic() < end: pass",
    "sleeps": "time.sleep(4)",
    "waits on a socket": "a, b = socket.socketpair(); a.settimeout(4)\n"
    "    try: a.recv(1)\n    except TimeoutError: pass",
    "has a timer": "signal.signal(14, lambda *_: Sender(parent, name='go').send(0)); signal.alarm(4)\n"
    "    Receiver(parent, name='never').recv()",
    "has a thread of _thread": "import _thread; out = Sender(parent, name='go')\n"
    "    _thread.start_new_thread(lambda: (time.sleep(4), out.send(0)), ())\n"
    "    Receiver(parent, name='never').recv()",
    "has a timer in C": "keep = call_from_c(lambda: Sender(parent, name='go').send(0), 4)\n"
    "    Receiver(parent, name='never').recv()",
    "handles a signal of a child": "signal.signal(10, lambda *_: Sender(parent, name='go').send(0))\n"
    "    os.popen(f'sleep 4; kill -USR1 {os.getpid()}'); Receiver(parent, name='never').recv()",
    "has a thread": "later = lambda: (time.sleep(4), Sender(parent, name='go').send(0))\n"
    "    threading.Thread(target=later).start(); Receiver(parent, name='never').recv()",
    **{
        f"{what}, in an event loop": f"async def loop():\n"
        f"        never = asyncio.ensure_future(Receiver(parent, name='never').arecv())\n"
        f"        await asyncio.sleep(0.1)\n        {text}\n    asyncio.run(loop())"
        for what, text in {
            "computes": "end = time.monotonic() + 4\n        while time.monotonic() < end: pass",
            "has a timer": "await asyncio.sleep(4)",
            "has a thread": "await asyncio.to_thread(time.sleep, 4)",
            "has a thread of _thread": "import _thread; done = asyncio.Event()\n"
            "        loop_ = asyncio.get_running_loop()\n"
            "        later = lambda: (time.sleep(4), loop_.call_soon_threadsafe(done.set))\n"
            "        _thread.start_new_thread(later, ()); await done.wait()",
            "waits on a descriptor": "done = asyncio.Event(); pipe = os.popen('sleep 4; echo')\n"
            "        asyncio.get_running_loop().add_reader(pipe.fileno(), done.set); await done.wait()",
            "waits for a signal": "done = asyncio.Event(); os.popen(f'sleep 4; kill -USR1 {os.getpid()}')\n"
            "        asyncio.get_running_loop().add_signal_handler(10, done.set); await done.wait()",
            "waits with a timeout": "await asyncio.wait([never], timeout=4)",
        }.items()
    },
    "waits with a timeout": "try: Receiver(parent, name='never').recv(timeout=4)\n"
    "    except TimeoutError: pass",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", BUSY)
def test_there_is_no_deadlock_report_while_a_process_can_go_on(job, how):
    result = job(
        PRELUDE
        + IN_C
        + f"""
def child(parent):
    {BUSY[how]}
    Sender(parent).send(0)
def bystander(parent): Receiver(parent).recv()
p = spawn(child); q = spawn(bystander)
go = Receiver(p, name="go")
select(Receiver(p), go)
Sender(q).send(0); cmpi.kill(p)
print(wait(q), "fine")
"""
    )
    assert (result.code, result.out) == (0, "0 fine\n"), result


def test_messages_in_flight_and_a_stuttering_pipeline_are_no_deadlock(job):
    result = job(
        PRELUDE
        + """
def relay(parent, i):
    source, to = Receiver(parent, name="in"), Sender(parent, name="out")
    for x in source: to.send(x)
pids = [spawn(relay, i) for i in range(3)]
ins, outs = [Sender(p, name="in") for p in pids], [Receiver(p, name="out") for p in pids]
for pause in (1.5, 2.2, 2.6):
    time.sleep(pause)
    for s in ins: s.send(pause)
    print([r.recv() for r in outs])
"""
    )
    assert result.code == 0 and len(result.out.splitlines()) == 3, result


@pytest.mark.slow
@pytest.mark.parametrize("send", ["out.send(large)", "asyncio.run(out.asend(large))"])
def test_a_large_message_on_a_socket_is_no_deadlock(job, send):
    # The part of it that counts, its head, arrives at once. Until then its receiver is stopped, with an old
    # wait.
    text = f"""
def child(parent):
    os.popen(f"sleep 0.3; kill -STOP {{os.getpid()}}; sleep 2; kill -CONT {{os.getpid()}}")
    print(Receiver(parent).recv().nbytes)
p = spawn(child)
time.sleep(0.8)
large, out = np.zeros(1 << 25), Sender(p)
{send}
wait(p)
"""
    result = job(PRELUDE + text, options=("--shared-memory", "0"))
    assert (result.code, result.out) == (0, f"{1 << 28}\n"), result


def test_a_failure_before_the_deadlock_is_reported_and_gives_the_exit_code(job):
    text = """
def child(parent): cmpi.Mailbox("nobody writes").recv()
spawn(child)
cmpi.whereis("nobody writes", timeout=20)
sys.exit("lost heart")
"""
    result = job(PRELUDE + text)
    assert result.code == 1 and "cmpirun: deadlock: " in result.err, result
    assert "cmpirun: rank 0 failed: exit code 1" in result.err, result


def test_the_check_can_be_switched_off(jobs):
    script = jobs.script(PRELUDE + "Receiver(spawn(lambda parent: Receiver(parent).recv())).recv()")
    running = jobs.start("cmpirun", "--no-deadlock-check", "python", script)
    time.sleep(5)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=10)
    assert running.returncode == 143


def test_sigquit_shows_what_all_processes_do_and_the_job_goes_on(jobs):
    text = """
def busy(parent):
    end = time.monotonic() + 3
    while time.monotonic() < end: pass
def waits(parent, p):
    wait(p)
def stopped(parent):
    Sender(parent).send(os.getpid())
    Receiver(parent, name="large").recv()
p = spawn(busy); q = spawn(waits, p); s = spawn(stopped)
os_pid = Receiver(s).recv()
os.kill(os_pid, signal.SIGSTOP)
threading.Timer(4, os.kill, (os_pid, signal.SIGCONT)).start()
print("ready", flush=True)
Sender(s, name="large").send(np.zeros(1 << 23))
print(wait(q))
"""
    argv = "cmpirun", "--output", "plain", "--shared-memory", "0", "python", jobs.script(PRELUDE + text)
    running = jobs.start(*argv)
    assert running.stdout.readline() == b"ready\n"
    time.sleep(0.7)
    running.send_signal(signal.SIGQUIT)
    out, err = running.communicate(timeout=30)
    err = err.decode()
    assert running.returncode == 0 and out == b"0\n", (out, err)
    assert len(re.findall("cmpirun: stacks of (rank 0|[a-z]+ · [0-9a-f]{7}):", err)) == 4
    for part in (
        "MainThread: runs",
        "MainThread: send to",
        "MainThread: wait for",
        "in busy",
        "while time.monotonic() < end: pass",
        "job.py",
    ):
        assert part in err, err
