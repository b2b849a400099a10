"""Data between hosts: arrays, slow and lossy networks, output and input of other hosts."""

import hashlib
import os
import pathlib
import sys

import pytest

from tests.cluster.conftest import without_waiting
from tests.cluster.programs import BETWEEN, PRELUDE, THREE, silent

STREAMS = """
def echo(parent):
    say_where(parent)
    out = Sender[object](parent, name="out")
    for message in Receiver[object](parent, name="in"):
        out.send((os.uname().nodename, message))
    out.close()
pids = on_each_host(echo)
print(*sorted(pids))
for n in (1, 1000, 3_000_000):
    array = np.arange(n) * 1.5
    for host, pid in pids.items():
        if n == 1:
            pids[host] = (pid, Sender[object](pid, name="in"), Receiver[object](pid, name="out"))
        pid, to, back = pids[host]
        for i in range(3):
            to.send((i, array))
        for i in range(3):
            name, (number, came) = back.recv(timeout=20)
            assert name == host and number == i and np.array_equal(came, array)
for pid, to, back in pids.values():
    to.close()
    assert list(back) == []
    print(cmpi.wait(pid, timeout=10))
"""


def test_processes_are_spawned_on_all_hosts_and_arrays_stream_between_them(on_hosts):
    result = on_hosts.job(PRELUDE + STREAMS, options=THREE)
    assert result.out.splitlines() == ["h1 h2 h3", "0", "0", "0"], result
    assert result.code == 0 and silent(result), result


def test_two_spawned_processes_on_other_hosts_talk_to_each_other(on_hosts):
    result = on_hosts.job(PRELUDE + BETWEEN, options=THREE)
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_the_contract_of_a_connection_holds_between_hosts(on_hosts, jobs, loss):
    hosts, root = on_hosts.hosts, pathlib.Path(__file__).parents[2]
    if loss:
        hosts.slow("h2", delay_s=0.002, loss=loss)
    argv = (sys.executable, "-m", "tests.transport.transport_contract", hosts.address("h2"))
    listens = jobs.start(*hosts.command("h2", *argv, cwd=root))
    port = listens.stdout.readline().decode().strip()
    dials = jobs.run(*hosts.command("h1", *argv, port, cwd=root), timeout=60)
    out, err = listens.communicate(timeout=10)
    assert (dials.code, dials.out, listens.returncode, out) == (0, "ok\n", 0, b"ok\n"), (dials, err)


def test_a_slow_network_that_loses_packets_changes_nothing_but_the_time(on_hosts):
    on_hosts.hosts.slow("h2", delay_s=0.05, loss=0.01)
    result = on_hosts.job(PRELUDE + BETWEEN, options=THREE, timeout=60)
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


def test_output_of_another_host_arrives_byte_for_byte_and_input_reaches_it(on_hosts, jobs):
    script = jobs.script(
        "import sys, hashlib\n"
        "data = bytes(range(256)) * 4 * 16_384\n"
        "for _ in range(3): sys.stdout.buffer.write(data)\n"
        "sys.stdout.flush()\n"
        "print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), file=sys.stderr)\n"
    )
    given = os.urandom(3_000_000)
    options = ("--host", "h2:1", "--output", "plain")
    result = on_hosts.run(*options, "python", script, input=given, text=False)
    came, expected = (each.rstrip(b"\n") for each in (result.out, bytes(range(256)) * 4 * 16_384 * 3))
    equal = came == expected  # pytest would compare them line by line
    assert equal, (len(came), len(expected), came[:300], came[-300:], result.err[:300], result.code)
    said = without_waiting(result.err.decode()).strip()
    assert said == hashlib.sha256(given).hexdigest() and result.code == 0
