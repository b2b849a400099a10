"""Parallel streams over files and collections: lazy plans that the workers of a pool run.

    from cmpi import data

    words = data.text("*.txt").flat_map(str.split).group_by(into=data.count())
    print(words.sort_n_by(10, key=1))

Sources create a `Stream`. Its methods extend the stream, or run it. Sinks (`count()`, `mean("ms")`...)
reduce the rows, in `Stream.fork`, `Stream.group_by` and `Stream.pipe`; steps (`filter(f)`, `map(f)`...)
are put before a sink with `|`.
"""

from __future__ import annotations

from cmpi._core.data.expressions import Expression, col
from cmpi._core.data.steps import Filter as filter
from cmpi._core.data.steps import FlatMap as flat_map
from cmpi._core.data.steps import Inspect as inspect
from cmpi._core.data.steps import Map as map
from cmpi.data.destinations.folder import Manifest
from cmpi.data.errors import BadRow, DatabaseError, UnreadableFile
from cmpi.data.execution.stream_run import Collected
from cmpi.data.execution.workers import Serial
from cmpi.data.extras import MissingExtra
from cmpi.data.sinks.choosing import First as first
from cmpi.data.sinks.choosing import Max as max
from cmpi.data.sinks.choosing import MaxBy as max_by
from cmpi.data.sinks.choosing import MaxByKey as max_by_key
from cmpi.data.sinks.choosing import Min as min
from cmpi.data.sinks.choosing import MinBy as min_by
from cmpi.data.sinks.choosing import MinByKey as min_by_key
from cmpi.data.sinks.choosing import SortN as sort_n_by
from cmpi.data.sinks.folding import All as all
from cmpi.data.sinks.folding import Any_ as any
from cmpi.data.sinks.folding import Combine as combine
from cmpi.data.sinks.folding import Fold as fold
from cmpi.data.sinks.folding import ForEach as for_each
from cmpi.data.sinks.folding import Reduce as reduce
from cmpi.data.sinks.frequency import CountDistinct as count_distinct
from cmpi.data.sinks.frequency import MostDistinct as most_distinct
from cmpi.data.sinks.frequency import MostFrequent as most_frequent
from cmpi.data.sinks.numeric import Count as count
from cmpi.data.sinks.numeric import Histogram as histogram
from cmpi.data.sinks.numeric import Mean as mean
from cmpi.data.sinks.numeric import StdDev as stddev
from cmpi.data.sinks.numeric import Sum as sum
from cmpi.data.sinks.sampling import Sample as sample
from cmpi.data.sinks.sink import Fork as fork
from cmpi.data.sinks.sink import GroupInto as group_by
from cmpi.data.sinks.sink import Sink
from cmpi.data.sinks.tabulating import collect
from cmpi.data.sources.make import csv, ipc, json, json_lines, npy, of, parquet, range, text
from cmpi.data.sources.make_live import channel, postgres
from cmpi.data.sources.make_web import cloudfront, warc
from cmpi.data.sources.warc_files import WebRecord
from cmpi.data.stream import Stream

__all__ = [
    "of", "range", "text", "csv", "json_lines", "json", "npy", "parquet", "ipc",
    "warc", "cloudfront", "postgres", "channel",
    "Stream", "Sink", "Serial", "Collected", "Manifest", "WebRecord", "Expression", "col",
    "map", "flat_map", "filter", "inspect",
    "count", "sum", "mean", "stddev", "histogram", "min", "max", "min_by", "max_by", "min_by_key",
    "max_by_key", "sort_n_by", "first", "fold", "reduce", "combine", "all", "any", "for_each", "collect",
    "sample", "count_distinct", "most_frequent", "most_distinct", "fork", "group_by",
    "BadRow", "UnreadableFile", "DatabaseError", "MissingExtra",
]  # fmt: skip
