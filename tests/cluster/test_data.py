"""Streams whose workers are on several hosts that share no folder for temporary files."""

import os
import pathlib
import signal
import time

import pytest

from tests.data import postgres_server

PRELUDE = """\
import os, pathlib, sys, time
import cmpi
from cmpi import ProcessPool, Resources, data

def where(_):
    time.sleep(0.02)
    return os.uname().nodename

def until(what, limit_s=60):
    end_s = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.02)

def padded(x):
    return f"{x:05}" + "." * 1000

if __name__ == "__main__":
    cmpi.init()
"""

OPERATORS = """\
    folder = pathlib.Path(sys.argv[1])
    with ProcessPool(4, resources=Resources(cpus=1)) as pool:
        until(lambda: set(pool.map(where, range(24), chunksize=1)) == {"h1", "h2"})
        rows = data.range(8_000, pool=pool).options(memory="1 MiB").map(lambda x: x * 7919 % 8_000)
        texts = rows.map(padded)
        def on_both(stage):
            "Rows go on when there are tasks of the stage on both hosts."
            def f(row):
                folder.joinpath(f"{stage} {os.uname().nodename}").touch()
                until(lambda: len(list(folder.glob(f"{stage} h*"))) == 2)
                return row
            return f
        both = texts.map(on_both("write")).repartition(4).map(on_both("read"))
        print("repartition", both.collect() == texts.collect())
        large = data.of([bytes(5_000_000)] * 4, pool=pool).map(on_both("write large")).repartition(4)
        print("large", large.map(on_both("read large")).map(len).sum())
        print("sort", texts.sort().collect() == [padded(x) for x in range(8_000)])
        pairs = texts.map(lambda text: (text, len(text)))
        print("join", len(set(pairs.inner_join(pairs).map(lambda p: p[0]).collect())))
        print("distinct", texts.map(lambda t: t[2:]).distinct().count())
        print("group", texts.group_by(lambda t: t[:-1], into=data.count()).map(lambda p: p[1]).sum())
        kept = texts.persist()
        print("persist", kept.count(), kept.enumerate().count())
        del kept
        table = rows.map(lambda x: {"id": x, "text": padded(x)})
        batches = table.map_batches(lambda t: t)
        print("tables", batches.inner_join(batches, on="id").count())
    left = [path for path in os.listdir("/tmp") if path.startswith("cmpi-data-")]
    print(left)
"""


def test_shuffles_and_sorts_fetch_blocks_from_other_hosts_and_leave_no_files(on_hosts, jobs):
    pytest.importorskip("pyarrow")
    options = ("--host", "h1:2,h2:2", "--output", "plain")
    result = on_hosts.job(PRELUDE + OPERATORS, str(jobs.folder), options=options, timeout=80)
    assert result.out.splitlines() == [
        "repartition True",
        "large 20000000",
        "sort True",
        "join 8000",
        "distinct 1000",
        "group 8000",
        "persist 8000 8000",
        "tables 8000",
        "[]",
    ], result


ELSEWHERE = """\
    os.mkdir("/tmp/only-here")
    try:
        with ProcessPool(4, resources=Resources(cpus=1)) as pool:
            until(lambda: set(pool.map(where, range(24), chunksize=1)) == {"h1", "h2"})
            def slow(x):
                time.sleep(0.01)
                return padded(x)
            data.range(1000, pool=pool).options(spill_folder="/tmp/only-here").map(slow).sort().count()
    except cmpi.CmpiError as error:
        print(error)
    print(os.listdir("/tmp/only-here"))
    os.rmdir("/tmp/only-here")
"""


def test_a_spill_folder_that_a_host_lacks_is_named(on_hosts, jobs):
    options = ("--host", "h1:2,h2:2", "--output", "plain")
    result = on_hosts.job(PRELUDE + ELSEWHERE, options=options, timeout=80)
    message, left = result.out.splitlines()
    assert message.startswith("a stream needs a folder in /tmp/only-here on h2; the process "), result
    assert message.endswith("Name a folder that each host has: options(spill_folder=...)"), result
    assert left == "[]" and "FileNotFoundError" in result.err, result


INTERRUPTED = """\
    folder = pathlib.Path(sys.argv[1])
    def slow(x):
        (folder / "reading").touch()
        time.sleep(60)
    with ProcessPool(4, resources=Resources(cpus=1)) as pool:
        until(lambda: set(pool.map(where, range(24), chunksize=1)) == {"h1", "h2"})
        def on_both(x):
            folder.joinpath(f"on {os.uname().nodename}").touch()
            until(lambda: len(list(folder.glob("on h*"))) == 2)
            return padded(x)
        data.range(8_000, pool=pool).map(on_both).repartition(4).map(slow).write_text(folder / "out")
"""


def test_ctrl_c_removes_the_files_on_all_hosts(on_hosts, jobs):
    options = ("--host", "h1:2,h2:2", "--output", "plain")
    job = on_hosts.start(*options, "python", jobs.script(PRELUDE + INTERRUPTED), str(jobs.folder))
    while not pathlib.Path(jobs.folder, "reading").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    for name in ("h1", "h2"):
        assert "cmpi-data-" in on_hosts.hosts.call(name, "ls", "/tmp")
    (cmpirun,) = [p for p in jobs.processes() if "cmpirun" in " ".join(p.cmdline()[:2])][:1]
    cmpirun.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130 and b"KeyboardInterrupt" in out + err, (job.returncode, out, err)
    assert os.listdir(jobs.folder / "out") == []
    for name in ("h1", "h2"):
        assert "cmpi-data-" not in on_hosts.hosts.call(name, "ls", "/tmp")


LOSES = """\
    folder = pathlib.Path(sys.argv[1])
    def read(x):
        if x % 500 == 0:  # once for each split
            (folder / f"{x}-{time.time_ns()}-{os.uname().nodename}").touch()
        return padded(x)
    def reduce(pair):
        (folder / "reducing").touch()
        until((folder / "lost").exists)
        return pair[1]
    with ProcessPool(6, resources=Resources(cpus=1)) as pool:
        until(lambda: set(pool.map(where, range(24), chunksize=1)) == {"h1", "h2", "h3"})
        stream = data.range(32_000, pool=pool).map(read).group_by(lambda t: t[1:], into=data.count())
        counts = stream.map(reduce).collect()
        print(len(counts), set(counts))
        reads = [path.name.split("-") for path in folder.glob("*-*")]
        splits = [x for x, _, _ in reads]
        print(len(set(splits)), sum(splits.count(x) == 2 for x in set(splits)) ==
            sum(host == "h3" for _, _, host in reads) > 0, max(splits.count(x) for x in splits))
"""


def test_blocks_of_a_lost_host_are_recomputed_once_and_counted_once(on_hosts, jobs):
    folder = jobs.folder / "seen"
    folder.mkdir()
    job = on_hosts.start(
        *("--host", "h1:2,h2:2,h3:2", "--host-timeout", "3.5", "--output", "plain"),
        *("python", jobs.script(PRELUDE + LOSES), str(folder)),
    )
    while not pathlib.Path(folder, "reducing").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    on_hosts.hosts.power_off("h3")
    pathlib.Path(folder, "lost").touch()
    out, err = (text.decode() for text in job.communicate(timeout=80))
    assert out == "10000 {3, 4}\n64 True 2\n", out + err
    assert job.returncode == 0 and "host h3 is lost" in err, err


WRITES = """\
    from cmpi._core.data.database_uri import DatabaseUri
    from cmpi.data.postgres import connected
    folder, uri, hosts = pathlib.Path(sys.argv[1]), sys.argv[2], set(sys.argv[3:])
    def row(x):
        host = os.uname().nodename
        folder.joinpath(f"on {host}").touch()
        until(lambda: len(list(folder.glob("on h*"))) == len(hosts))
        if x == 7_999:
            folder.joinpath("last").touch()
            until((folder / "go on").exists)
        return {"x": x, "host": host, "text": "é" * 300}
    with ProcessPool(2 * len(hosts), resources=Resources(cpus=1)) as pool:
        until(lambda: set(pool.map(where, range(24), chunksize=1)) == hosts)
        print(data.range(8_000, pool=pool).map(row).write_postgres(uri, "t"))
    with connected(DatabaseUri(uri)) as connection:
        found = connection.execute(
            "SELECT count(DISTINCT x), sum(length(text)), string_agg(DISTINCT host, ' ' ORDER BY host)"
            " FROM t"
        )
        print(*found.to_pylist()[0].values())
"""


@pytest.fixture
def uri():
    """The address of a database that h1 can reach."""
    pytest.importorskip("adbc_driver_postgresql")
    if postgres_server.INITDB is None:
        pytest.skip(postgres_server.MISSING)
    with postgres_server.server("/var/tmp") as uri:  # a folder that the hosts share
        yield uri


def test_rows_from_other_hosts_are_written_to_postgres(on_hosts, jobs, uri):
    (jobs.folder / "go on").touch()
    options = ("--host", "h1:2,h2:2", "--output", "plain")
    arguments = (str(jobs.folder), uri, "h1", "h2")
    result = on_hosts.job(PRELUDE + WRITES, *arguments, options=options, timeout=80)
    assert result.out == "8000\n8000 2400000 h1 h2\n", result


def test_rows_that_a_lost_host_had_for_postgres_are_made_again(on_hosts, jobs, uri):
    job = on_hosts.start(
        *("--host", "h1:2,h2:2,h3:2", "--host-timeout", "3.5", "--output", "plain"),
        *("python", jobs.script(PRELUDE + WRITES), str(jobs.folder), uri, "h1", "h2", "h3"),
    )
    while not pathlib.Path(jobs.folder, "last").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    on_hosts.hosts.power_off("h3")
    pathlib.Path(jobs.folder, "go on").touch()
    out, err = (text.decode() for text in job.communicate(timeout=80))
    assert out == "8000\n8000 2400000 h1 h2\n", out + err
    assert job.returncode == 0 and "host h3 is lost" in err, err
