"""Channels between hosts that go through MPI: `cmpirun --fabric mpi`."""

import re

import pytest

from tests.cluster.programs import BETWEEN, PRELUDE, THREE, came_up
from tests.cluster.test_host_loss import CRASHES, LOSES, check_crashes
from tests.cluster.test_host_network import STREAMS
from tests.cluster.test_pool import POOL

MPI = (*THREE, "--fabric", "mpi")
AGENT = r"^[^ ]*python[^ ]* -I [^ ]*/fabric/main\.py"

WAYS = """
def echo(parent):
    say_where(parent)
    to = Sender[object](parent, name="back")
    for message in Receiver[object](parent):
        to.send(message)
    to.close()
def ways():
    pids = on_each_host(echo)
    for host, pid in sorted(pids.items()):
        with Sender[object](pid) as to:
            of = Receiver[object](pid, name="back")
            for i in range(300):
                to.send(i)
                assert of.recv(timeout=20) == i
            print(host, to.statistics().way, of.statistics().way, flush=True)
        assert cmpi.wait(pid, timeout=10).ok
ways()
"""


def test_channels_between_hosts_go_through_mpi(on_hosts):
    result = on_hosts.job(PRELUDE + WAYS, options=MPI, timeout=60)
    assert result.out.splitlines() == ["h1 ring ring", "h2 mpi mpi", "h3 mpi mpi"], result
    assert result.code == 0 and "TCP" not in result.err, result


def test_without_a_fabric_channels_between_hosts_go_by_tcp(on_hosts):
    result = on_hosts.job(PRELUDE + WAYS, options=THREE, timeout=60)
    assert result.out.splitlines() == ["h1 ring ring", "h2 socket socket", "h3 socket socket"], result


def test_arrays_arrive_through_mpi(on_hosts):
    result = on_hosts.job(PRELUDE + STREAMS, options=MPI, timeout=60)
    assert result.out.splitlines() == ["h1 h2 h3", "0", "0", "0"], result
    result = on_hosts.job(PRELUDE + BETWEEN, options=MPI, timeout=60)
    assert result.out == "19000000 0\n", result


EVERYTHING = """
import asyncio
def many(parent, n):
    say_where(parent)
    with Sender[int](parent) as to:
        for i in range(n):
            to.send(i)
pids = on_each_host(many, 200)
got = {host: [] for host in pids}
ends = {Receiver[int](pid): host for host, pid in pids.items()}
while ends:
    try:
        chosen = cmpi.select(*ends, timeout=20)
        got[ends[chosen.operation]].append(chosen.value)
    except cmpi.EndOfChannel as error:
        del ends[error.operation]
print(*(got[host] == list(range(200)) for host in sorted(got)))

async def together(pids):
    async def read(pid):
        return [message async for message in Receiver[int](pid)]
    return await asyncio.gather(*map(read, pids.values()))
print([len(each) for each in asyncio.run(together(on_each_host(many, 100)))])

def waits(parent):
    say_where(parent)
    print(Receiver[str](parent).recv())
    to = Sender[bytes](parent, name="never read", capacity="1 MiB")
    try:
        while True: to.send(bytes(100_000))
    except cmpi.PeerClosed:
        print("closed")
pids = on_each_host(waits)
silent = Receiver[int](pids["h2"])
print(silent.try_recv())
try:
    silent.recv(timeout=0.2)
except TimeoutError:
    print("in time")
for pid in pids.values():
    Sender[str](pid).send("go")
for pid in pids.values():
    unread = Receiver[bytes](pid, name="never read")
    assert len(unread.recv(timeout=20)) == 100_000
    unread.close()
print([cmpi.wait(pid, timeout=20).ok for pid in pids.values()])
"""


def test_select_asyncio_deadlines_and_closing_are_as_by_tcp(on_hosts):
    result = on_hosts.job(PRELUDE + EVERYTHING, options=MPI, timeout=60)
    expected = ["True True True", "[100, 100, 100]", "None", "in time", *["go"] * 3, *["closed"] * 3]
    assert sorted(result.out.splitlines()) == sorted([*expected, "[True, True, True]"]), result


def test_a_crash_affects_only_the_peers_and_what_was_sent_has_arrived(on_hosts):
    result = on_hosts.job(PRELUDE + CRASHES, options=MPI, timeout=90)
    check_crashes(result)


NUMBERS = """
def number(parent):
    say_where(parent)
    first = Receiver[int](parent, name="from").recv()
    with Sender[object](parent) as to:
        for i in range(first, first + 4000):
            to.send(i)
            if i % 200 == 0:
                to.send(np.full(200_000, i))
            if i % 100 == 0:
                time.sleep(0.02)
pids = on_each_host(number)
for pid in pids.values():
    Sender[int](pid, name="from").send(0)
for host in ("h2", "h1", "h3"):
    pid = pids[host]
    receiver, want = Receiver[object](pid), 0
    for message in receiver:
        if isinstance(message, np.ndarray):
            assert (message == want - 1).all()
        else:
            assert message == want, (message, want)
            want += 1
        if want == 1000 and host == "h2":
            print("up", flush=True)
    print(host, want, flush=True)
print("then", flush=True)
"""


@pytest.mark.parametrize("host", ["h1", "h3"])
def test_a_killed_agent_costs_no_message_and_a_new_world_carries_later_channels(on_hosts, jobs, host):
    again = """
end_s = time.monotonic() + 60
while True:
    pids = on_each_host(echo)
    found = set()
    for pid in pids.values():
        with Sender[object](pid) as to:
            of = Receiver[object](pid, name="back")
            to.send(1)
            of.recv(timeout=20)
            found.add(to.statistics().way)
    if found == {"ring", "mpi"}:
        break
    assert time.monotonic() < end_s, found
    time.sleep(0.3)
print("mpi again")
"""
    text = PRELUDE + NUMBERS + WAYS.replace("\nways()\n", "\n") + again
    job = on_hosts.start(*MPI, "python", jobs.script(text))
    came_up(job)
    on_hosts.hosts.call(host, "pkill", "-9", "-f", AGENT)
    out, err = (text.decode() for text in job.communicate(timeout=120))
    assert out.splitlines() == ["h2 4000", "h1 4000", "h3 4000", "then", "mpi again"], out + err
    assert job.returncode == 0 and err.count("the fabric agents have ended") == 1, err


@pytest.mark.parametrize("how", ["power_off", "cut"])
def test_a_lost_host_is_the_end_of_what_ran_there_and_of_nothing_else(on_hosts, jobs, how):
    options = ("--host-timeout", "3.5") if how == "cut" else ()
    job = on_hosts.start(*MPI, *options, "python", jobs.script(PRELUDE + LOSES))
    came_up(job)
    getattr(on_hosts.hosts, how)("h3")
    out, err = (text.decode() for text in job.communicate(timeout=60))
    assert "\n137 host lost: h3" in f"\n{out}" and ("then on h1" in out or "then on h2" in out), out + err
    assert float(re.search(r"noticed after ([\d.]+)", out)[1]) < 13
    assert job.returncode == 0 and "host h3 is lost" in err, out + err


def test_a_pool_over_hosts_goes_through_mpi(on_hosts):
    text = """
    with ProcessPool(6, resources=Resources(cpus=1)) as pool:
        until(lambda: hosts(pool) == {"h1", "h2", "h3"})
        big = np.arange(1_000_000)
        print(set(pool.map(lambda i, a: int(a.sum()) + i - i, range(12), [pool.share(big)] * 12)))
        print(sum(pool.map(abs, range(-5000, 0), chunksize=7)))
"""
    result = on_hosts.job(POOL + text, options=MPI, timeout=60)
    assert result.out.splitlines() == ["{499999500000}", "12502500"] and result.code == 0, result


def test_where_mpi_does_not_work_between_hosts_channels_go_by_tcp_and_a_line_says_so(on_hosts):
    """Both settings leave MPI with shared memory alone."""
    alone = {"OMPI_MCA_btl": "self,sm", "UCX_TLS": "self,posix"}
    result = on_hosts.job(PRELUDE + WAYS, options=MPI, env=alone, timeout=90)
    assert result.out.splitlines() == ["h1 ring ring", "h2 socket socket", "h3 socket socket"], result
    assert result.err.count("channels between hosts go by TCP: ") == 1 and result.code == 0, result


def test_the_doctor_shows_what_was_seen_on_each_host_and_what_follows(on_hosts):
    result = on_hosts.run("--doctor", "--host", "h1:1,h2:1", "--fabric", "mpi", timeout=60)
    for name in ("h1", "h2"):
        row = next(line for line in result.out.splitlines() if f"fabric of {name}" in line)
        assert row.endswith("seen; its channels to other hosts go through MPI (--fabric mpi)"), result
