"""Streams on real pools: results, lost workers, interrupts, and nothing left."""

import ast
import os
import pathlib
import signal
import time

import pytest

from cmpi import data
from tests.data.postgres_server import INITDB, MISSING, server

PRELUDE = """
import os, signal, sys, time
import cmpi
from cmpi import ProcessPool, data

folder = sys.argv[1]
def die_once(name):
    try: os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL)
    except FileExistsError: return
    os.kill(os.getpid(), signal.SIGKILL)
class Point:
    def __init__(self, x): self.x = x
class Longest(data.Sink):
    def init(self): return ""
    def add(self, state, row): return max(state, row, key=len)
    def merge(self, state, other): return max(state, other, key=len)
"""


def test_streams_run_in_workers_and_lost_ones_are_read_again_and_counted_once(job, jobs):
    text = jobs.folder / "words.txt"
    text.write_text("".join(f"a{i % 100} b{i % 7} c\n" for i in range(20_000)))
    spill = jobs.folder / "spill"
    spill.mkdir()
    result = job(
        PRELUDE
        + """
with ProcessPool(2) as pool:
    lines = data.text(folder + "/words.txt", split_bytes="16 KiB", pool=pool)
    lines = lines.options(memory="64 KiB", spill_folder=folder + "/spill")
    def words(line):
        if line == "a37 b0 c": die_once("in-map")
        return line.split()
    counts = lines.flat_map(words).group_by(into=data.count())
    def dies(pair):
        if pair[0] == "c": die_once("in-reduce")
        return pair
    top = counts.map(dies).sort_n_by(2, key=1)
    print(top)
    pids = lines.map(lambda line: os.getpid()).collect(set)
    print(os.getpid() in pids, len(pids) >= 1, lines.pipe(Longest()), lines.take(1).collect())
    points = data.range(2000, pool=pool).map(lambda x: Point(x % 10)).options(memory=1)
    least = points.sort(lambda p: p.x).map(lambda p: p.x).take(3).collect()
    print(least, type(points.collect()[0]) is Point)
    pairs = data.range(1000, pool=pool).map(lambda x: (f"k{x % 50}", x))
    print(pairs.inner_join(pairs.filter(lambda p: p[1] < 100)).count())
    def write(x):
        if x == 700: die_once("in-write")
        return str(x)
    manifest = data.range(1000, pool=pool).map(write).write_text(folder + "/out")
    written = data.text(folder + "/out", pool=pool).collect()
    print(manifest.rows, written == [str(x) for x in range(1000)])
    print(pool.statistics().deaths >= 3, sorted(os.listdir(folder + "/spill")))
    def always(x): os.kill(os.getpid(), signal.SIGKILL)
    try: data.range(10, pool=pool).options(retries=1).for_each(always)
    except cmpi.WorkerDied as error: print(type(error).__name__)
    try: data.text(folder + "/words.txt", pool=pool).map(lambda line: 1 // (line != "a1 b1 c")).count()
    except data.BadRow as error: print(error.line, error.reason)
print(data.range(5).map(lambda x: x + 1).sum())
""",
        str(jobs.folder),
    )
    assert result.code == 0 and not result.err, result
    assert result.out.splitlines() == [
        "[('c', 20000), ('b0', 2858)]",
        "False True a10 b3 c ['a0 b0 c']",
        "[0, 0, 0] True",
        "2000",
        "1000 True",
        "True []",
        "WorkerDied",
        "2 ZeroDivisionError: integer division or modulo by zero",
        "15",
    ]


def test_tables_are_joined_and_written_once_though_workers_die(job, jobs):
    pytest.importorskip("pyarrow")
    result = job(
        PRELUDE
        + """
import pyarrow as pa
def left(parts):
    if parts == [3]: die_once("before-the-join")
    ids = range(parts[0] * 1000, parts[0] * 1000 + 1000)
    return pa.table({"id": ids, "third": [x % 3 for x in ids]})
def right(parts):
    return pa.table({"id": range(parts[0] * 1000, parts[0] * 1000 + 1000, 2)})
def checked(table):
    if 8 in table["id"].to_pylist(): die_once("after-the-join")
    return table
with ProcessPool(2) as pool:
    parts = data.range(6, pool=pool).options(memory="8 KiB", spill_folder=folder, partitions=4)
    others = parts.map_batches(right, format="list")
    both = parts.map_batches(left, format="list").inner_join(others, on="id")
    print(both.map_batches(checked).write_parquet(folder + "/out", partition_by="third").rows)
    print(pool.statistics().deaths, [name for name in os.listdir(folder) if name.startswith("cmpi-")])
    out = data.parquet(folder + "/out", pool=data.Serial())
    print(sorted(out.group_by("third", into=data.count())), out.sum("id"), sum(range(0, 6000, 2)))
""",
        str(jobs.folder),
        timeout=60,
    )
    assert result.code == 0 and not result.err, result
    assert result.out.splitlines() == ["3000", "2 []", "[(0, 1000), (1, 1000), (2, 1000)] 8997000 8997000"]


def test_ctrl_c_leaves_no_half_output_and_no_temporary_files(jobs):
    spill = jobs.folder / "spill"
    spill.mkdir()
    script = jobs.script(
        PRELUDE
        + """
def slow(x):
    time.sleep(60 if x == 3 else 0.001)
    return str(x)
sorted_rows = data.range(1000).options(memory=1, spill_folder=folder + "/spill").sort()
sorted_rows.map(slow).write_text(folder + "/out")
"""
    )
    job = jobs.start("cmpirun", "--output", "plain", "python", script, str(jobs.folder))
    while not list(jobs.folder.glob("out/.cmpi-*/*/part-*")):
        assert job.poll() is None
        time.sleep(0.02)
    assert os.listdir(spill)
    os.killpg(job.pid, signal.SIGINT)
    out, err = job.communicate(timeout=30)
    assert job.returncode == 130 and b"KeyboardInterrupt" in out + err, (job.returncode, out, err)
    assert b"waiting after" not in err, err
    assert os.listdir(spill) == [] == os.listdir(jobs.folder / "out")


def test_tpch_results_on_a_pool_equal_those_in_one_process(cmpirun, tmp_path):
    pytest.importorskip("pyarrow")
    from tests.data import tpch

    tpch.generate(tmp_path)
    script = pathlib.Path(tpch.__file__)
    result = cmpirun("--output", "plain", "python", script, tmp_path, "3", "6", timeout=60)
    assert result.code == 0 and not result.err, result
    tables = tpch.Tables(tmp_path, pool=data.Serial())
    expected = [row for number in (3, 6) for row in tpch.QUERIES[number](tables)]
    found = list(map(ast.literal_eval, result.out.replace("datetime.date", "").splitlines()))
    assert str(found) == str(expected).replace("datetime.date", "")


@pytest.fixture(scope="module")
def uri():
    """The address of a PostgreSQL server's database."""
    pytest.importorskip("adbc_driver_postgresql")
    if INITDB is None:
        pytest.skip(MISSING)
    with server() as uri:
        yield uri


READ_AND_WRITE = """
uri = os.environ["TEST_DATABASE"]
with ProcessPool(2) as pool:
    def row(x):
        if x == 700: die_once("in-write")
        return {"x": x, "text": f"t{x}"}
    rows = data.range(1000, pool=pool).map(row)
    print(rows.write_postgres(uri, "t"), rows.write_postgres(uri, "t", mode="append"))
    def seen(row):
        if row.x == 500: die_once("in-read")
        return row.x
    table = data.postgres(uri, "t", split_by="x", splits=6, pool=pool)
    print(sorted(table.map(seen).collect()) == sorted([*range(1000)] * 2), table.sum("x") == 999 * 1000)
    print(pool.statistics().deaths)
    wrong = os.environ["WRONG_PASSWORD"]
    try: data.postgres(wrong, "t", pool=pool).count()
    except data.DatabaseError as error: print("authentication failed" in str(error))
    rows.write_postgres(wrong, "t")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # each new worker imports pyarrow, and the driver, and what they import
def test_tables_are_read_and_written_once_though_workers_die_and_no_password_is_printed(jobs, uri):
    script = jobs.script(PRELUDE + READ_AND_WRITE)
    argv = ("cmpirun", "--output", "plain", "python", script, str(jobs.folder))
    environment = {"TEST_DATABASE": uri, "WRONG_PASSWORD": uri.replace("s3cret", "wr0ng")}
    result = jobs.run(*argv, env=environment, timeout=90)
    assert result.out.splitlines() == ["1000 1000", "True True", "2", "True"], result
    assert result.code == 1 and "authentication failed" in result.err, result
    assert "ada:***@" in result.err and "wr0ng" not in result.err and "s3cret" not in result.err, result


def test_a_table_is_unchanged_if_the_program_is_killed_or_interrupted_in_the_transaction(jobs, uri):
    """A trigger holds the insertion up until the program has ended."""
    from cmpi._core.data.database_uri import DatabaseUri
    from cmpi.data.postgres import connected

    rows = "data.range(1000, pool=data.Serial()).options(spill_folder=folder).map(lambda x: {'x': x})"
    write = f"{rows}.write_postgres(os.environ['TEST_DATABASE'], 'held', mode='append')"
    script = jobs.script(PRELUDE + write)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with connected(DatabaseUri(uri)) as holder:
        holder.execute("CREATE TABLE held AS SELECT 1::bigint AS x")
        holder.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN IF NEW.x = 500 THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NEW; END'",
        )
        holder.execute("CREATE TRIGGER h BEFORE INSERT ON held FOR EACH ROW EXECUTE FUNCTION hold()")
        for end in (signal.SIGINT, signal.SIGKILL):
            holder.commit()
            holder.execute("SELECT pg_advisory_xact_lock(1)::text")
            job = jobs.start("python", script, str(jobs.folder), env={"TEST_DATABASE": uri})
            while holder.values(waiting) == [0]:
                assert job.poll() is None, job.communicate()
                time.sleep(0.02)
            job.send_signal(end)
            if end == signal.SIGINT:  # it cancels what the database does, and tidies up
                err = job.communicate(timeout=60)[1]
                assert err.endswith(b"\nKeyboardInterrupt\n") and b"DatabaseError" not in err, err
                assert not list(jobs.folder.glob("cmpi-data-*"))
            job.communicate()
            holder.commit()
            holder.execute("LOCK TABLE held")  # waits for the end of the other transaction
            assert holder.values("SELECT x FROM held") == [1]


CHANNELS = """
def sends(parent, how):
    with cmpi.Sender[int](parent) as out, cmpi.Receiver[int](parent, name="answers") as answers:
        for x in range(30):
            out.send(x)
            if how == "asks": assert answers.recv() == x * x
            if how == "dies" and x == 20: os._exit(3)
def endless(parent):
    sent = 0
    try:
        with cmpi.Sender[int](parent, capacity=10) as out:
            while True:
                out.send(sent)
                sent += 1
    except cmpi.PeerClosed:
        cmpi.Sender[int](parent, name="count").send(sent)
def square(x):
    if x == 7: die_once("square")
    return x * x
with ProcessPool(2) as pool:
    def squares(pid): return data.channel(cmpi.Receiver[int](pid), pool=pool).map(square)
    pid = cmpi.spawn(sends, "asks")
    with cmpi.Sender[int](pid, name="answers") as answers:  # each message waits for the answer to the last
        print(squares(pid).write_channel(answers), pool.statistics().deaths)
    pid, seen = cmpi.spawn(sends, "dies"), []
    try:
        with cmpi.Sender[int](pid, name="answers"):
            for row in squares(pid): seen.append(row)
    except cmpi.PeerExited as error: print(len(seen), error.status.code)
    pid = cmpi.spawn(endless)
    with cmpi.Receiver[int](pid) as numbers:
        print(data.channel(numbers, pool=pool).map(square).take(3).collect())
    print(cmpi.Receiver[int](pid, name="count").recv() < 20_000)
    def three(parent):
        with cmpi.Sender[int](parent) as out:
            for x in range(3): out.send(x)
    pids = [cmpi.spawn(three) for _ in range(2)]
    numbers = data.channel(cmpi.Receiver[int].any(pids), pool=pool)
    print(numbers.collect(set) == {(pid, x) for pid in pids for x in range(3)})
    def knocks(parent):
        for x in range(2): cmpi.Sender[str].to("door").send(f"knock {x}")
    with cmpi.Mailbox[str]("door") as door:
        cmpi.spawn(knocks)
        print(data.channel(door, pool=pool).map(str.upper).take(2).collect())
"""


@pytest.mark.timeout(300)
def test_a_channel_stream_delivers_results_early_and_a_lost_worker_loses_no_message(job, jobs):
    result = job(PRELUDE + CHANNELS, str(jobs.folder), timeout=60)
    assert result.out.splitlines() == [
        "30 1",
        "21 3",
        "[0, 1, 4]",
        "True",
        "True",
        "['KNOCK 0', 'KNOCK 1']",
    ], result
    assert result.code == 0, result
