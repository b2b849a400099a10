"""Links, notices, names and supervisors between real processes."""

import pytest

PRELUDE = """
import cmpi, os, sys, time
from cmpi import Child, Receiver, Sender, kill, link, monitor, register, spawn, supervise, wait, whereis
def sleeper(parent, *_): time.sleep(60)
"""


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 9)", "raise ValueError('x')"])
def test_linked_processes_end_together_and_the_second_names_the_first(job, how):
    result = job(
        PRELUDE
        + f"""
def first(parent):
    Receiver(parent).recv()
    {how}
def second(parent, other):
    link(other)
    Sender(parent).send(0)
    time.sleep(60)
p = spawn(first); q = spawn(second, p); r = spawn(sleeper)
Receiver(q).recv(); Sender(p).send(0)
status = wait(q)
print(status.signal, f"linked with {{p}}, which ended: {{wait(p)}}" == status.verdict, status.ok)
try: wait(r, timeout=0.3)
except TimeoutError: print("who is not linked lives")
kill(r)
""",
        options=("--strict",),
    )
    assert result.out.splitlines() == ["15 True True", "who is not linked lives"], result
    assert result.code in (3, 137, 1) and "later" not in result.err, result


def test_a_normal_end_spares_linked_processes_but_linking_after_it_fails(job):
    result = job(
        PRELUDE
        + """
def normal(parent): pass
p = spawn(normal, link=True); wait(p); time.sleep(0.2)
def late(parent, gone): link(gone); time.sleep(60)
print(wait(spawn(late, p)).verdict == f"linked itself with {p}, which had ended before")
def linked_child(parent): os._exit(4)
def parent_of(parent): wait(spawn(linked_child, link=True)); time.sleep(60)
print(wait(spawn(parent_of)).signal)
"""
    )
    assert result.out.splitlines() == ["True", "15"] and result.code == 4, result


def test_a_process_that_traps_exits_gets_notices_and_survives(job):
    result = job(
        PRELUDE
        + """
exits = cmpi.trap_exits()
p = spawn(lambda parent: os._exit(3), link=True)
q = spawn(lambda parent: None, link=True)
r = spawn(lambda parent: (link(parent), os._exit(5)))
found = {exits.recv(timeout=10).pid: 0 for _ in range(3)}
print(found.keys() == {p, q, r})
cmpi.trap_exits(False)
spawn(lambda parent: os._exit(6), link=True)
time.sleep(60)
"""
    )
    # The ends of p and r were noticed; that of the last process was not.
    assert result.out == "True\n" and result.code == 6, result


def test_monitors_give_one_notice_each_to_recv_select_and_loops(job):
    result = job(
        PRELUDE
        + """
p = spawn(lambda parent: sys.exit(2)); q = spawn(sleeper); r = spawn(lambda parent: None)
notices = monitor(p, r)
print(sorted((n.pid == p, n.status.code) for n in notices))
both = monitor(p); also = monitor(q)
print(cmpi.select(also, both).value.status.code)
try: also.recv(timeout=0.1)
except TimeoutError as error: print(error)
kill(q)
import asyncio
async def main(): return await monitor(q).arecv()
print(asyncio.run(main()).status)
"""
    )
    assert result.out.splitlines() == [
        "[(False, 0), (True, 2)]",
        "2",
        "none of the monitored processes has ended within 0.1 s",
        "signal 9 (SIGKILL), as requested",
    ], result


def test_a_registered_name_finds_its_process_and_disappears_with_it(job):
    result = job(
        PRELUDE
        + """
def named(parent):
    register("worker"); register("worker")
    time.sleep(60)
print(whereis("worker"))
p = spawn(named)
print(whereis("worker", timeout=10) == p)
try: register("worker")
except cmpi.NameTaken as error: print(str(p) in str(error))
kill(p); wait(p)
print(whereis("worker"))
try: whereis("worker", timeout=0.1)
except TimeoutError as error: print(error)
register("worker"); print(whereis("worker") == cmpi.pid())
try: register("late", p)
except cmpi.UsageError: print("too late")
"""
    )
    assert result.out.splitlines() == [
        "None",
        "True",
        "True",
        "None",
        "no process had the name 'worker' within 0.1 s",
        "True",
        "too late",
    ], result


def test_a_supervised_worker_is_found_again_by_its_name_and_the_job_succeeds(job):
    result = job(
        PRELUDE
        + """
def worker(parent):
    Receiver(whereis("client", timeout=10)).recv()
    os._exit(3)
def client(parent):
    register("client")
    seen = set()
    while len(seen) < 3:
        found = whereis("worker", timeout=10)
        if found and found not in seen:
            seen.add(found)
            Sender(found).send("die")
    print("three workers", flush=True)
    kill(whereis("supervisor"))
def boss(parent):
    register("supervisor")
    supervise([Child(worker, name="worker")], max_restarts=10, within=5, backoff=(0.01, 0.1))
b = spawn(boss); c = spawn(client)
print(wait(c)); print(wait(b))
"""
    )
    assert result.out.splitlines() == ["three workers", "0", "signal 9 (SIGKILL), as requested"], result
    assert (result.code, result.err) == (0, ""), result


def test_a_supervisor_that_gives_up_reports_the_number_of_restarts(job):
    result = job(
        PRELUDE
        + """
def fails(parent): os._exit(7)
def steady(parent): time.sleep(60)
children = [Child(steady), Child(fails)]
try: supervise(children, strategy="one_for_all", max_restarts=2, within=30, backoff=(0, 0))
except cmpi.TooManyRestarts as error: print(error); print(dict(error.restarts))
print(supervise([Child(lambda parent: None, name="once", restart="transient")]))
"""
    )
    assert result.out.splitlines() == [
        "fails ended (7) after too many restarts: steady 2, fails 2",
        "{'steady': 2, 'fails': 2}",
        "{'once': 0}",
    ], result
    assert result.code == 0, result


def test_children_end_with_their_supervisor(job):
    result = job(
        PRELUDE
        + """
def child(parent, boss): Sender(boss).send(0); time.sleep(60)
top = cmpi.pid()
p = spawn(lambda parent: supervise([Child(child, top)]))
def first_of(p):
    while True:
        found = whereis("kid", timeout=10)
        if found: return found
q = spawn(lambda parent: supervise([Child(sleeper, name="kid")]))
kid = first_of(q)
kill(p); kill(q)
print(wait(kid, timeout=10).verdict == f"linked with {q}, which ended: {wait(q)}")
"""
    )
    assert result.out == "True\n", result


def test_children_of_a_supervisor_come_go_and_come_back_on_request(program):
    text = """
from functools import partial
names = "start_child", "which_children", "terminate_child", "restart_child"
start_child, which_children, terminate_child, restart_child = (
    partial(getattr(cmpi, name), timeout=30) for name in names
)
def boss(parent):
    register("boss")
    supervise([Child(sleeper, name="first")], dynamic=True, max_restarts=5, within=5, backoff=(0, 0))
b, much = spawn(boss), cmpi.Resources(cpus=999)
p = start_child("boss", Child(sleeper, 1, name="second", restart="transient"))
q = start_child(b, Child(sleeper, 2, restart="temporary"))
rows = which_children("boss")
print([(row.number, row.name, row.state, row.restarts, row.runs) for row in rows])
print(rows[0].pid == whereis("first"), (rows[1].pid, rows[2].pid) == (p, q))
for wrong in (
    lambda: start_child("boss", Child(sleeper, name="first")), lambda: restart_child("boss", "first"),
    lambda: terminate_child("boss", 7), lambda: start_child("boss", Child(sleeper, resources=much)),
):
    try: wrong()
    except cmpi.CmpiError as error: print(type(error).__name__, str(error)[:36])
terminate_child("boss", "second"); terminate_child("boss", q); terminate_child("boss", "first")
print([row.state for row in which_children("boss")], wait(p).signal, wait(q).signal, whereis("first"))
print(restart_child("boss", "first") == whereis("first"), which_children("boss")[0].restarts)
kill(whereis("first"))
while which_children("boss")[0].restarts == 0: pass
first, *rest = which_children(b)
print(first.state in ("running", "restarting"), [row.state for row in rest])
try: start_child("nobody", Child(sleeper), timeout=0.1)
except TimeoutError as error: print(error)
kill(b); wait(b)
"""
    assert program(text).splitlines() == [
        "[(0, 'first', 'running', 0, 'sleeper'), (1, 'second', 'running', 0, 'sleeper'), "
        "(2, '', 'running', 0, 'sleeper')]",
        "True True",
        "UsageError this supervisor already has a child ",
        "UsageError child first is running; only a child",
        "UsageError this supervisor has no child 7; whic",
        "NeverFits asked for 999 cpus and 16 MiB on one",
        "['ended', 'ended', 'ended'] 15 15 None",
        "True 0",
        "True ['ended', 'ended']",
        "no answer from nobody within 0.1 s",
    ]
