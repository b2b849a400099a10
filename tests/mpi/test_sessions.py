"""`cmpi.init()` in processes that cannot be restarted: prompts, notebooks, test runs, servers."""

import contextlib
import os
import pty
import re
import select
import signal

import pytest

from tests.mpi.conftest import SLOWNESS

pytestmark = pytest.mark.slow

SQUARE = "def square(parent, x): cmpi.Sender(parent).send(x * x)"
RECEIVE = "cmpi.Receiver(cmpi.spawn(square, 7)).recv(timeout=20)"
STARTED = "cmpi: started the job cmpi-"


class Console:
    """A program on its own terminal, at which the test types."""

    def __init__(self, jobs, *command):
        self.leader, follower = pty.openpty()
        command = ("setsid", "--ctty", "--wait", *command)  # makes it the controlling terminal
        streams = {"stdin": follower, "stdout": follower, "stderr": follower}
        self.process = jobs.start(*command, env={"TERM": "dumb", "PYTHON_BASIC_REPL": "1"}, **streams)
        os.close(follower)
        self.text = ""

    def until(self, wanted):
        """Return what is shown, up to this text."""
        while wanted not in self.text:
            ready, _, _ = select.select([self.leader], [], [], 30 * SLOWNESS)
            assert ready, f"no {wanted!r} in {self.text!r}"
            self.text += os.read(self.leader, 65536).decode(errors="replace")
        shown, _, self.text = self.text.partition(wanted)
        return shown

    def type(self, *lines):
        for line in lines:
            os.write(self.leader, f"{line}\n".encode())

    def end(self):
        self.type("exit()")
        with contextlib.suppress(OSError):  # the last process has closed its side
            while data := os.read(self.leader, 65536):
                self.text += data.decode(errors="replace")
        os.close(self.leader)
        assert self.process.wait(30) == 0, self.text


def test_an_interactive_python_gets_a_job_and_keeps_it_over_ctrl_c(jobs):
    console = Console(jobs, "python", "-i", "-q")
    console.type("import cmpi, time; cmpi.init()")
    console.until(STARTED)
    console.type(SQUARE, "", RECEIVE)
    console.until("\n49\r\n")
    console.type("child = cmpi.spawn(lambda parent: time.sleep(60))", "print('ready' * 2)")
    console.until("readyready")
    console.type("print('waits' * 2); cmpi.wait(child)")
    console.until("waitswaits")  # a terminal forgets at Ctrl-C what was typed but not yet read
    os.write(console.leader, b"\x03")  # Ctrl-C is for the prompt, not for the job
    console.until("KeyboardInterrupt")
    console.type("def shout(parent): print('aloud' * 2)", "", "cmpi.wait(cmpi.spawn(shout)).ok")
    console.until("aloudaloud")
    console.type("cmpi.kill(child); cmpi.wait(child).signal + 100")
    console.until("\n109\r\n")
    console.end()


def test_ipython_gets_a_job(jobs):
    pytest.importorskip("IPython")
    environment = ["--simple-prompt", "--no-banner", "--colors=NoColor", "--HistoryManager.enabled=False"]
    console = Console(jobs, "ipython", *environment)
    console.type("import cmpi; cmpi.init()")
    console.until(STARTED)
    console.type(SQUARE, "", RECEIVE)
    console.until(": 49")
    console.type("1 / 0", "print(len(cmpi.world()) + 70)")
    console.until("70\r\n")
    console.end()


class Kernel:
    """A real Jupyter kernel, to which a front end sends cells."""

    def __init__(self, jobs):
        jupyter_client = pytest.importorskip("jupyter_client")
        pytest.importorskip("ipykernel")
        self.manager = jupyter_client.KernelManager(
            connection_file=str(jobs.folder / "kernel.json"), transport="ipc"
        )
        environment = jobs.environment | {"IPYTHONDIR": str(jobs.folder / "ipython")}
        self.manager.start_kernel(env=environment, cwd=str(jobs.folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60 * SLOWNESS)

    def run(self, cell, wait=True, full=False, html=False):
        """Run a cell; return its outputs: what it printed, and its value or exception; if `full`, the
        traceback; if `html`, the value's HTML."""
        asked = self.client.execute(cell)
        return self.outputs(asked, full=full, html=html) if wait else asked

    def outputs(self, asked, first=None, full=False, html=False):
        """The same, of a cell that runs; until this text has come, even if the cell is over by then."""
        found = []
        while first is None or first not in "".join(found):
            message = self.client.get_iopub_msg(timeout=60 * SLOWNESS)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content, kind = message["content"], message["msg_type"]
            if kind == "stream":
                found.append(content["text"])
            elif kind == "execute_result":
                found.append(content["data"]["text/html" if html else "text/plain"])
            elif kind == "error":
                found.append("\n".join(content["traceback"]) if full else content["ename"])
            elif kind == "status" and content["execution_state"] == "idle" and first is None:
                break
        return "".join(found)

    def close(self):
        self.client.stop_channels()
        self.manager.cleanup_resources()


@pytest.fixture
def kernel(jobs):
    kernel = Kernel(jobs)
    yield kernel
    if kernel.manager.has_kernel:
        kernel.manager.shutdown_kernel(now=True)
    kernel.close()


def test_a_notebook_gets_a_job_whose_output_is_in_the_cell_that_runs(kernel):
    assert STARTED in kernel.run("import cmpi, os, time; cmpi.init()")
    assert kernel.run(f"{SQUARE}\n{RECEIVE}") == "49"
    shout = "def shout(parent, word): print(word)\n"
    assert kernel.run(f"{shout}cmpi.wait(cmpi.spawn(shout, 'one')).code; time.sleep(0)") == "one\n"
    assert kernel.run("await cmpi.Receiver(await cmpi.aspawn(square, 8)).arecv()") == "64"
    asked = kernel.run("print('waits'); cmpi.wait(cmpi.spawn(lambda parent: time.sleep(60)))", wait=False)
    kernel.outputs(asked, "waits\n")
    kernel.manager.interrupt_kernel()  # the stop button
    assert kernel.outputs(asked).endswith("KeyboardInterrupt")
    assert kernel.run(RECEIVE) == "49", "the kernel and its job go on"


TELL = """
def tell(parent, go, word):
    open(go).read()  # until another cell runs
    print(word, flush=True)
def family(parent, go, word):
    cmpi.wait(cmpi.spawn(tell, go, word))
"""
LAST = """
print("last", flush=True)
for go in ("go1", "go2", "go3"): open(go, "w").close()
cmpi.wait(first); cmpi.wait(second)
"""


def test_output_of_a_process_is_in_the_cell_that_spawned_it(jobs, kernel):
    for go in ("go1", "go2", "go3"):
        os.mkfifo(jobs.folder / go)
    kernel.run(f"%load_ext cmpi\nimport cmpi; cmpi.init()\n{TELL}")
    kernel.run("%%cmpi -n 1\nimport cmpi")
    cells = [
        "first = cmpi.spawn(tell, 'go1', 'one')",
        "second = await cmpi.aspawn(family, 'go2', 'two')",
        f"%%cmpi\n{TELL}third = cmpi.spawn(family, 'go3', 'three')",
        LAST,
    ]
    found = {}
    for cell in cells:
        asked = kernel.run(cell, wait=False)
        found[asked] = "" if cell is LAST else kernel.outputs(asked)
    while sum(word in "".join(found.values()) for word in ("one", "two", "three", "last")) < 4:
        message = kernel.client.get_iopub_msg(timeout=60 * SLOWNESS)
        if message["msg_type"] == "stream":
            found[message["parent_header"]["msg_id"]] += message["content"]["text"]
    assert list(found.values()) == ["one\n", "two\n", "three\n", "last\n"]


def test_output_of_a_pools_task_is_in_the_cell_that_runs(kernel):
    kernel.run("import cmpi, time; cmpi.init(); pool = cmpi.ProcessPool(1); pool.submit(int).result()")
    asked = kernel.run("pool.submit(print, 'two', flush=True).result(); time.sleep(600)", wait=False)
    assert kernel.outputs(asked, "two\n") == "two\n"


def test_output_can_be_captured(kernel):
    kernel.run("import cmpi, sys; cmpi.init()\ndef shout(parent): print('aloud')")
    wait = "cmpi.spawn(shout)\nwhile 'aloud' not in sys.stdout.getvalue(): pass"
    assert kernel.run(f"%%capture captured\n{wait}") == ""
    assert kernel.run("captured.stdout") == "'aloud\\n'"


def test_a_progress_bar_is_one_line_that_is_redrawn(kernel):
    pytest.importorskip("tqdm")
    kernel.run("import cmpi, time; cmpi.init()\ndef nap(x): time.sleep(0.002)")
    pool = "with cmpi.ProcessPool(2) as pool: done = list(pool.map(nap, range(500), progress='naps'))"
    _is_a_bar(kernel.run(pool), "naps: 100%", "500/500")
    own = (
        "def own(parent):\n    import tqdm\n    for _ in tqdm.tqdm(range(500), 'own'): time.sleep(0.002)\n"
    )
    asked = kernel.run(f"{own}child = cmpi.spawn(own)", wait=False)
    _is_a_bar(kernel.outputs(asked, "500/500"), "own: 100%", "500/500")


def _is_a_bar(shown, *expected):
    """What a notebook shows of it is one line, which was drawn more than once, but not for each item."""
    (line,) = [line for line in shown.split("\n") if "\r" in line]
    states = [state for state in line.split("\r") if state.strip()]
    assert 1 < len(states) < 50, shown
    assert all(text in states[-1] for text in expected), states


def test_a_notebook_shows_jobs_pids_and_pools_as_html(kernel):
    kernel.run("import cmpi; job = cmpi.Job(cpus=2)")
    shown = kernel.run("job", html=True)
    cells = re.findall("<td>(.*?)</td>", shown)
    assert re.match("cmpi-.* [0-9a-f]{7} 2 of 2 .*B of .*B 0$", " ".join(cells)), shown
    assert re.fullmatch(r"<code title=.*>[0-9a-f]{7}</code>", kernel.run("cmpi.pid()", html=True))
    kernel.run("child = cmpi.spawn(lambda parent: 1 / 0)\nwhile not job.failures: pass")
    assert "<td>1</td></tr>" in kernel.run("pool = cmpi.ProcessPool(1); job", html=True)
    assert "<caption>ProcessPool</caption>" in kernel.run("pool", html=True)
    kernel.run("pool.shutdown(); job.close()")
    assert "<td>left</td>" in kernel.run("job", html=True)


def test_a_killed_or_restarted_notebook_kernel_leaves_nothing(jobs, kernel):
    kernel.run(f"import cmpi; cmpi.init()\n{SQUARE}")
    assert kernel.run(RECEIVE) == "49"
    kernel.manager.restart_kernel(now=True)  # by SIGKILL, like an impatient user
    kernel.client.wait_for_ready(timeout=60 * SLOWNESS)
    assert STARTED in kernel.run(f"import cmpi; cmpi.init()\n{SQUARE}")
    assert kernel.run(RECEIVE) == "49"
    (process,) = [it for it in jobs.processes() if "ipykernel_launcher" in " ".join(it.cmdline())]
    os.kill(process.pid, signal.SIGKILL)
    # the fixture looks for files and processes that are left over


def test_pytest_gets_a_job(jobs):
    jobs.script(
        """
import time
import cmpi, pytest
def child(parent): cmpi.Sender(parent).send(42)
def loud(parent): print("loud")
@pytest.fixture(scope="session")
def job():
    with cmpi.Job() as job:
        yield job
def test_each_pytest_run_has_a_job_of_its_own(job):
    assert cmpi.Receiver(cmpi.spawn(child)).recv(timeout=20) == 42
def test_pytest_captures_output_of_the_job(job, capfd):
    cmpi.spawn(loud)
    while "loud" not in capfd.readouterr().out:
        time.sleep(0.01)
def test_pytest_workers_share_one_job(job):
    assert cmpi.wait(cmpi.spawn(child)).ok and not job.failures
""",
        "test_fixture.py",
    )
    jobs.script(
        """
import cmpi
def child(parent): cmpi.Sender(parent).send(42)
def test_init():
    cmpi.init()
    assert cmpi.Receiver(cmpi.spawn(child)).recv(timeout=20) == 42
""",
        "test_init.py",
    )
    result = jobs.run("pytest", "-q", "-p", "no:cacheprovider", "test_fixture.py", "test_init.py")
    assert result.code == 0 and "4 passed" in result.out and "loud" not in result.out, result
    result = jobs.run("cmpirun", "pytest", "-q", "-p", "no:cacheprovider", "test_init.py")
    assert result.code == 0 and "1 passed" in result.out, result


SERVER = """
import asyncio, sys
import cmpi

def square(parent, x): return x * x

async def answer(reader, writer):
    x = int(await reader.readline())
    child = await cmpi.aspawn(square, x, result=True)
    writer.write(f"{await cmpi.aresult(child)}\\n".encode())
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()

with cmpi.Job():
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("closed", flush=True)
"""


def test_a_server_in_asyncio_answers_many_at_once(jobs):
    import asyncio

    server = jobs.start("python", jobs.script(SERVER))
    port = int(server.stdout.readline())

    async def ask(x):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{x}\n".encode())
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return int(line)

    async def ask_all():
        return await asyncio.gather(*map(ask, range(30)))

    assert asyncio.run(ask_all()) == [x * x for x in range(30)]
    server.send_signal(signal.SIGINT)
    assert server.stdout.read() == b"closed\n" and server.wait(30) == 0, server.stderr.read()


def test_python_that_reads_its_program_from_stdin_gets_a_job(jobs):
    text = f"import cmpi; cmpi.init()\n{SQUARE}\nprint({RECEIVE})\n"
    result = jobs.run("python", "-", input=text.encode())
    assert result.code == 0 and result.out == "49\n" and result.err.count(STARTED) == 1, result


def test_cells_run_on_the_ranks_of_a_group_that_stays(kernel):
    kernel.run("%load_ext cmpi")
    world = "from mpi4py import MPI\nworld = MPI.COMM_WORLD\nx = world.rank * 10\n"
    out = kernel.run(f"%%cmpi -n 2\n{world}print('x is', x)\nworld.allreduce(x)")
    assert STARTED in out
    lines = [line for line in out.splitlines() if line.startswith("[")]
    assert sorted(lines) == ["[0] 10", "[0] x is 0", "[1] 10", "[1] x is 10"], "each value after each print"
    assert kernel.run("%%cmpi 1\nx += 1\nx") == "[1] 11\n", "variables stay"
    assert kernel.run("word = ['pushed']\n%cmpi push word\n%cmpi pull x") == "[0, 11]"
    assert kernel.run("%%cmpi 0\nprint(word)") == "[0] ['pushed']\n"

    error = kernel.run("%%cmpi\ndef fail(): raise ValueError('both')\nfail()", full=True)
    assert "ranks 0, 1: Traceback" in error and error.count("raise ValueError") == 1, error
    assert "ValueError: both" in error and "cells.py" not in error

    asked = kernel.run("%%cmpi\nimport time\nprint('busy')\ntime.sleep(60)", wait=False)
    kernel.outputs(asked, "[0] busy\n")
    kernel.manager.interrupt_kernel()  # this interrupts the ranks, and the kernel goes on
    assert kernel.outputs(asked).endswith("CellFailed")
    assert sorted(kernel.run("%%cmpi\nx").split("\n")) == ["", "[0] 0", "[1] 11"], "with their variables"

    ended = kernel.run("%%cmpi 0\nimport os\nos._exit(3)", full=True)
    assert "rank 0 has ended, and its group with it: 3" in ended
    assert kernel.run("%%cmpi\n'x' in globals()").count("False") == 2, "a group of as many, made anew"
    assert "no variable 'nothing'" in kernel.run("%cmpi push nothing", full=True)

    kernel.run("%%cmpi\nx = 1")
    kernel.run("%cmpi restart")
    assert kernel.run("%%cmpi\n'x' in globals()").count("False") == 2, "new ranks"


WAITS_FOR_A_RANK_THAT_FAILS = """%%cmpi -n 2
import time
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank
assert rank == 0, "no"
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
MPI.COMM_WORLD.barrier()
"""


def test_a_rank_that_fails_is_named_while_another_waits_for_it(kernel):
    kernel.run("%load_ext cmpi")
    asked = kernel.run(WAITS_FOR_A_RANK_THAT_FAILS, wait=False)
    kernel.outputs(asked, "rank 1 raised AssertionError: no; still running: 0.")
    kernel.manager.interrupt_kernel()
    kernel.outputs(asked, "[0] interrupted\n")  # now it is inside MPI, where no signal handler runs
    kernel.manager.interrupt_kernel()
    ended = kernel.outputs(asked, full=True)
    assert "KeyboardInterrupt" in ended and "rank 1: Traceback" in ended and "AssertionError: no" in ended
    assert kernel.run("%%cmpi\n1").count("] 1\n") == 2, "the next cell gets a new group"
