"""Times `cmpi.data` and, in turn on the same files, multiprocessing by hand, Dask, Ray Data, PySpark,
Polars and a plain loop; also the CPU time that each needs in all its processes, which other programs
disturb less. Libraries that are not installed are left out."""

from __future__ import annotations

from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job

RUNS = 3
SCALE = 0.2  # of the generator's files of one gigabyte: as much as a test machine has time for
LIMITS = {
    "words": {
        "multiprocessing by hand": "at least 0.9",
        "Dask Bag": "at least 3",
        "Ray Data": "at least 3",
    },
    "mean": {"Polars": "at least 0.6", "Dask DataFrame": "at least 2"},
    "csv": {"pyarrow": "at least 0.8"},
    "join": {"Polars": "at least 0.3", "Dask DataFrame": "at least 2"},
    "rows": {"plain loop x workers": "at least 0.85"},
    "growth": {"4 x one worker": "at least 0.9"},
}
WHAT = {
    "words": ("word count of text", "MB/s"),
    "mean": ("group-by mean on parquet", "Mrow/s"),
    "csv": ("csv to parquet", "MB/s"),
    "rows": ("map and filter by functions", "Mrow/s"),
    "growth": ("slow reads by 4 workers", "row/s"),
    "join": ("join by shuffle, 10 rows to 1", "Mrow/s"),
}


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    found = in_a_job("cmpi.bench.jobs.data_work", runs or RUNS, SCALE)
    for key, (what, unit) in WHAT.items():
        figures, cpu_s = found[key]
        ours = figures.pop("cmpi")
        if not figures:
            yield Row(what, ours, unit)
        for i, (other, theirs) in enumerate(figures.items()):
            limit = LIMITS.get(key, {}).get(other, "")
            yield Row(what if i == 0 else "  the same", ours, unit, other, theirs, limit)
        for other, theirs in cpu_s.items():
            if other != "cmpi":
                yield Row("  CPU time", cpu_s["cmpi"], "s", other, theirs)
