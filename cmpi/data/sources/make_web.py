"""The functions that create streams from what is recorded on the web: pages and requests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from cmpi.data.extras import fastwarc
from cmpi.data.sources.cloudfront_files import CloudFrontLogs
from cmpi.data.sources.files import Paths
from cmpi.data.sources.make import stream_of
from cmpi.data.sources.warc_files import WarcFiles
from cmpi.data.stream import Stream
from cmpi.errors import UsageError

WITH_CONTENT = ("response", "resource", "conversion")


def warc(
    paths: Paths, *, types: Sequence[str] | None = WITH_CONTENT, pool: Executor | None = None
) -> Stream:
    """Create a stream of the records of WARC files, such as those of Common Crawl; each is a `WebRecord`.

    Args:
        paths: See `text`. Each file is one split.
        types: The types of records to keep; by default those with the content of an address (the pages of
            WARC files, the texts of WET files). None: all.

    Raises:
        MissingExtra: fastwarc is not installed.
        UnreadableFile: When the stream runs: a file is truncated, damaged or not a WARC file.

    A record without a type or a valid date is a bad row; the line that its error names is the record's
    number.

    Blocks: never. Source: ISO 28500:2017, The WARC Format 1.1.
    """
    fastwarc()
    if isinstance(types, str):
        raise UsageError(f"types must be a list of types of records; found {types!r}. Pass [{types!r}]")
    return stream_of(WarcFiles(paths, None if types is None else tuple(types)), pool)


def cloudfront(paths: Paths, *, pool: Executor | None = None) -> Stream:
    """Create a stream of the records of CloudFront's standard logs.

    Args:
        paths: See `text`. Each file is one split.

    The columns are the fields that AWS documents, named `sc_status`, `cs_uri_stem`, `cs_user_agent` and so
    on; `time` is a datetime in UTC made of `date` and `time`. Numbers of bytes, statuses and ports are int,
    durations (in seconds) are float, and the rest is text, which CloudFront has URL-encoded
    (`urllib.parse.unquote` decodes it). "-", and a field that the file lacks, is None. Fields that are not
    documented come last, as text. A line with too few fields, or with a value that is no number, is a bad
    row.

    Blocks: never. Source: Amazon CloudFront Developer Guide, "Standard logging reference".
    """
    return stream_of(CloudFrontLogs(paths), pool)
