"""The program of the benchmark `data`.

cmpirun python -m cmpi.bench.jobs.data_work RUNS SCALE

A seeded generator creates the files, with 1 GB and 30 million rows for a SCALE of 1. Every library does the
same work in turn, RUNS times, with its workers already up; median rates are printed as JSON, and the median
CPU times of all processes together.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import operator
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import psutil

import cmpi
from cmpi import data
from cmpi._core.data.splits import byte_ranges

WORKERS = 2
SIZES = (150_000_000, 30_000_000, 20_000_000, 10_000_000, 1_000_000)  # words, and rows of the other files
SPLIT_BYTES = 16 << 20
SLOW_READS, SLOW_S = 128, 0.02

Times = dict[str, Callable[[], object]]


def make_text(path: str, n: int) -> int:
    """Write lines of ten words each, `n` words in all, some much more frequent than others; return the size
    in bytes."""
    choice = np.random.default_rng(1)
    words = np.array([f"word{i}" for i in range(50_000)], dtype=object)
    with open(path, "w") as file:
        for begin in range(0, n, 1_000_000):
            chosen = words[np.minimum(choice.zipf(1.3, min(1_000_000, n - begin)), len(words)) - 1]
            file.writelines(" ".join(line) + "\n" for line in chosen.reshape(-1, 10))
    return os.path.getsize(path)


def make_table(path: str, n: int) -> None:
    """Write a Parquet file with `n` rows of users and milliseconds."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    choice = np.random.default_rng(2)
    table = arrow.table({"user": choice.integers(0, 100_000, n), "ms": choice.exponential(100.0, n)})
    parquet.write_table(table, path, row_group_size=1_000_000)


def make_csv(table: str, path: str) -> None:
    """Write the rows of a Parquet file as CSV."""
    csv, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")
    csv.write_csv(parquet.read_table(table), path)


def count_range(path: str, begin_end: tuple[int, int]) -> Counter[str]:
    """Count the words of the lines that begin in a range of a file."""
    begin, end = begin_end
    counts: Counter[str] = Counter()
    with open(path, "rb") as file:
        at = 0
        if begin:
            file.seek(begin - 1)
            at = begin - 1 + len(file.readline())
        while at < end and (line := file.readline()):
            at += len(line)
            counts.update(line.decode().split())
    return counts


def double(x: int) -> int:
    """A function of a row."""
    return 2 * x


def odd_third(x: int) -> int:
    """A condition of a row."""
    return x % 3


def slow(x: int) -> int:
    """A row that a slow disk or server gives."""
    time.sleep(SLOW_S)
    return x


def loop(rows: int) -> int:
    """The number of rows that `double` and `odd_third` give, counted in a plain loop."""
    n = 0
    for x in range(rows):
        if odd_third(double(x)):
            n += 1
    return n


Figures = dict[str, float]


def rates(measure: Times, amount: float, runs: int) -> tuple[Figures, Figures]:
    """Rates and CPU seconds by the median of interleaved runs; all measures must give the same result."""
    times: dict[str, list[float]] = {name: [] for name in measure}
    cpu_times: dict[str, list[float]] = {name: [] for name in measure}
    results = {}
    for _ in range(runs):
        for name, work in measure.items():
            cpu_start_s, start_s = cpu_s(), time.perf_counter()
            results[name] = work()
            times[name].append(time.perf_counter() - start_s)
            cpu_times[name].append(cpu_s() - cpu_start_s)
    assert len(set(map(str, results.values()))) == 1, results
    return (
        {name: amount / statistics.median(each) for name, each in times.items()},
        {name: statistics.median(each) for name, each in cpu_times.items()},
    )


def cpu_s() -> float:
    """The CPU time that this process, the processes of its job, and their descendants have used."""
    top = psutil.Process()
    while (parent := top.parent()) and "cmpi" in " ".join(parent.cmdline()):
        top = parent
    total = 0.0
    for process in (top, *top.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended; its parent has its times
            total += sum(process.cpu_times()[:4])  # those of the children that it has waited for included
    return total


def words(pool: Any, path: str) -> Times:
    """Word counts: returns the number of words, and the count of the most frequent one."""

    def ours() -> object:
        stream = data.text(path, split_bytes=SPLIT_BYTES, pool=pool)
        counts = stream.flat_map(str.split).group_by(into=data.count())
        return counts.fork(data.count(), data.map(lambda pair: pair[1]) | data.max())

    processes = multiprocessing.get_context("fork").Pool(WORKERS)

    def by_hand() -> object:
        counts: Counter[str] = Counter()
        ranges = byte_ranges(os.path.getsize(path), SPLIT_BYTES)
        for each in processes.imap(partial(count_range, path), ranges):
            counts.update(each)
        return len(counts), max(counts.values())

    measure: Times = {"cmpi": ours, "multiprocessing by hand": by_hand}
    if bag := _installed("dask.bag"):
        executor = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))  # as Dask's own

        def dask() -> object:
            lines = bag.read_text(path, blocksize=SPLIT_BYTES)
            counts = lines.str.split().flatten().frequencies()
            found = dict(counts.compute(scheduler="processes", pool=executor))
            return len(found), max(found.values())

        measure["Dask Bag"] = dask
    if ray := _installed("ray"):
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
        ray_data = importlib.import_module("ray.data")
        ray_data.DataContext.get_current().enable_progress_bars = False

        def by_ray() -> object:
            lines = ray_data.read_text(path)
            counts = lines.flat_map(words_of_row).groupby("word").count().take_all()
            return len(counts), max(row["count()"] for row in counts)

        measure["Ray Data"] = by_ray
    if spark := _installed("pyspark"):
        context = spark.SparkContext(f"local[{WORKERS}]")
        context.setLogLevel("OFF")

        def by_spark() -> object:
            pairs = context.textFile(path, os.path.getsize(path) // SPLIT_BYTES + 1).flatMap(str.split)
            counts = pairs.map(lambda word: (word, 1)).reduceByKey(operator.add).values().collect()
            return len(counts), max(counts)

        measure["PySpark"] = by_spark
    return measure


def words_of_row(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The words of a line, as Ray Data passes lines and rows."""
    return [{"word": word} for word in row["text"].split()]


def mean(pool: Any, path: str) -> Times:
    """Means by user: returns their number, and the greatest."""

    def ours() -> object:
        groups = data.parquet(path, split_bytes=64 << 20, pool=pool).group_by("user", into=data.mean("ms"))
        n, most = groups.fork(data.count(), data.max(1))
        return n, round(most, 6)

    measure: Times = {"cmpi": ours}
    if polars := _installed("polars"):

        def theirs() -> object:
            groups = polars.scan_parquet(path).group_by("user").agg(polars.col("ms").mean()).collect()
            return len(groups), round(groups["ms"].max(), 6)

        measure["Polars"] = theirs
    if frame := _installed("dask.dataframe"):

        def dask() -> object:
            groups = frame.read_parquet(path, split_row_groups=True).groupby("user").ms.mean().compute()
            return len(groups), round(float(groups.max()), 6)

        measure["Dask DataFrame"] = dask
    return measure


def convert(pool: Any, path: str, folder: str) -> Times:
    """CSV to Parquet: returns the number of rows."""
    csv, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")

    def ours() -> object:
        stream = data.csv(
            path,
            types={"user": int, "ms": float},
            quoted_newlines=False,
            split_bytes=SPLIT_BYTES,
            pool=pool,
        )
        return stream.write_parquet(f"{folder}/ours", overwrite=True).rows

    def theirs() -> object:
        table = csv.read_csv(path)
        parquet.write_table(table, f"{folder}/theirs.parquet")
        return table.num_rows

    return {"cmpi": ours, "pyarrow": theirs}


def make_join(folder: str, many: int, few: int) -> tuple[str, str]:
    """Write a Parquet file with many rows, and one with a few that each of them has a partner in."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    choice = np.random.default_rng(3)
    left = arrow.table({"id": choice.integers(0, few, many), "x": choice.integers(0, 1000, many)})
    right = arrow.table({"id": choice.permutation(few), "y": choice.integers(0, 1000, few)})
    paths = f"{folder}/left.parquet", f"{folder}/right.parquet"
    for table, path in zip((left, right), paths):
        parquet.write_table(table, path, row_group_size=max(1, len(table) // 10))
    return paths


def join(pool: Any, left: str, right: str) -> Times:
    """A join by shuffle: returns the number of rows, and the sums of a column of each side."""

    def ours() -> object:
        first, second = (data.parquet(path, split_bytes=SPLIT_BYTES, pool=pool) for path in (left, right))
        both = first.inner_join(second, on="id")
        return both.fork(data.count(), data.sum("x"), data.sum("y"))

    measure: Times = {"cmpi": ours}
    if polars := _installed("polars"):

        def theirs() -> object:
            both = polars.scan_parquet(left).join(polars.scan_parquet(right), on="id")
            columns = polars.len(), polars.col("x").sum(), polars.col("y").sum()
            found: object = both.select(*columns).collect().row(0)
            return found

        measure["Polars"] = theirs
    if frame := _installed("dask.dataframe"):

        def dask() -> object:
            first, second = (frame.read_parquet(path, split_row_groups=True) for path in (left, right))
            both = first.merge(second, on="id", broadcast=False)  # a shuffle, as ours
            found = importlib.import_module("dask").compute(both.x.count(), both.x.sum(), both.y.sum())
            return tuple(map(int, found))

        measure["Dask DataFrame"] = dask
    return measure


def growth(runs: int) -> dict[str, float]:
    """Rows per second of slow reads by four workers, and four times the rate of one."""
    found = {}
    for workers in (1, 4):
        with cmpi.ProcessPool(workers) as pool:
            list(pool.map(slow, range(workers)))
            stream = data.range(SLOW_READS, pool=pool).map(slow)
            found[workers] = rates({"cmpi": stream.count}, SLOW_READS, runs)[0]["cmpi"]
    return {"cmpi": found[4], "4 x one worker": 4 * found[1]}


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def main() -> None:
    """Measure, and print the figures."""
    runs, scale = int(sys.argv[1]), float(sys.argv[2])
    n_words, n_table, n_loop, many, few = (10 * max(1, int(n * scale / 10)) for n in SIZES)
    found: dict[str, tuple[Figures, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="cmpi-bench-") as folder, cmpi.ProcessPool(WORKERS) as pool:
        text, table = f"{folder}/words.txt", f"{folder}/table.parquet"
        nbytes = make_text(text, n_words)
        found["words"] = rates(words(pool, text), nbytes / 1e6, runs)
        make_table(table, n_table)
        found["mean"] = rates(mean(pool, table), n_table / 1e6, runs)
        csv_file = f"{folder}/table.csv"
        make_csv(table, csv_file)
        found["csv"] = rates(convert(pool, csv_file, folder), os.path.getsize(csv_file) / 1e6, runs)
        rows = data.range(n_loop, pool=pool).map(double).filter(odd_third)
        plain = partial(loop, n_loop)
        found["rows"] = rates({"cmpi": rows.count, "plain loop x workers": plain}, n_loop / 1e6, runs)
        found["rows"][0]["plain loop x workers"] *= WORKERS
        found["growth"] = growth(runs), {}
        found["join"] = rates(join(pool, *make_join(folder, many, few)), (many + few) / 1e6, runs)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
