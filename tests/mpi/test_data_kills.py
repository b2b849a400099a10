"""Every operator on a pool whose workers are killed at random, compared with the same in one process."""

import pytest

PROGRAM = """
import os, random, signal, sys
import cmpi
from cmpi import ProcessPool, data

folder, seed = sys.argv[1], int(sys.argv[2])
chance = random.Random(seed)
N = 4000
ROWS = [chance.randrange(300) for _ in range(N)]

def fatal(name):
    "A step that kills its worker at a random row, the first time that it comes by."
    at = chance.randrange(300)
    def f(row):
        x = row
        while isinstance(x, (tuple, list)): x = x[0]
        if x == at and os.getpid() != DRIVER:
            try: os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL))
            except FileExistsError: return row
            os.kill(os.getpid(), signal.SIGKILL)
        return row
    return f

def operators(pool):
    "Results by the operator's name; each stream has a fatal step before and after the operator."
    def rows(name):
        stream = data.of(ROWS, pool=pool).options(memory="16 KiB", retries=5, partitions=8)
        return stream.map(fatal(name + "-before"))
    def end(name, stream): return stream.map(fatal(name + "-after")).collect()
    def pairs(name): return rows(name).map(lambda x: (x, x % 7))
    few = data.of(range(0, 300, 5), pool=pool).map(lambda x: (x, -x))
    return {
        "map": lambda: end("map", rows("map").map(lambda x: x + 1)),
        "flat_map": lambda: end("flat_map", rows("flat_map").flat_map(lambda x: range(x % 3))),
        "filter": lambda: end("filter", rows("filter").filter(lambda x: x % 3)),
        "batch": lambda: end("batch", rows("batch").batch(9)),
        "chain": lambda: end("chain", rows("chain").chain(rows("chain-2"))),
        "take": lambda: end("take", rows("take").take(999)),
        "enumerate": lambda: end("enumerate", rows("enumerate").enumerate()),
        "zip": lambda: end("zip", rows("zip").zip(rows("zip-2"))),
        "window": lambda: end("window", rows("window").window(3, 2)),
        "repartition": lambda: end("repartition", rows("repartition").repartition(5)),
        "sort": lambda: end("sort", rows("sort").sort(reverse=True)),
        "group_by": lambda: sorted(end("group_by", rows("group_by").group_by(into=data.count()))),
        "distinct": lambda: sorted(end("distinct", rows("distinct").distinct())),
        "inner_join": lambda: sorted(end("inner_join", pairs("inner_join").inner_join(few))),
        "left_join": lambda: sorted(end("left_join", pairs("left_join").left_join(few)), key=repr),
        "persist": lambda: end("persist", rows("persist").persist()),
        "fork": lambda: rows("fork").fork(data.count(), data.sum(), data.min(), data.stddev()),
        "sample": lambda: rows("sample").sample(20, seed=seed),
        "most": lambda: (rows("most").most_frequent(3), pairs("most-2").most_distinct(3)),
        "fold": lambda: rows("fold").fold(int, lambda total, x: total + x),
        "sort_n_by": lambda: rows("sort_n_by").sort_n_by(9),
        "histogram": lambda: rows("histogram").histogram(edges=[0, 100, 300]),
    }

DRIVER = os.getpid()
cmpi.init()
with ProcessPool(2) as pool:
    expected, found = operators(data.Serial()), operators(pool)
    chosen = chance.sample(sorted(found), int(sys.argv[3]))
    wrong = [name for name in chosen if found[name]() != expected[name]()]
    print("wrong:", wrong, "killed:", pool.statistics().deaths > len(chosen) // 2)
"""


@pytest.mark.parametrize("seed, n", [(1, 6), pytest.param(2, 22, marks=pytest.mark.slow)])
def test_operators_have_the_same_results_though_workers_are_killed_at_random(job, jobs, seed, n):
    result = job(PROGRAM, str(jobs.folder), str(seed), str(n), timeout=120)
    assert result.out == "wrong: [] killed: True\n" and result.code == 0, result
