"""WARC files, as web crawlers write them: one row for each record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cmpi.data.errors import BadRow, UnreadableFile
from cmpi.data.extras import fastwarc
from cmpi.data.sources.files import find, opened
from cmpi.data.sources.reading import Place, Reading


class WebRecord(NamedTuple):
    """A record of a WARC file.

    Attributes:
        type: "response", "resource", "conversion", "request", "metadata", "warcinfo", "revisit"...
        url: The address that it is about; "" for a record that is about none.
        date: When it was captured, with its time zone, UTC.
        ip: The server's IP address; None if it was not recorded.
        status: The status code of an HTTP response; None for other records.
        headers: The headers of the HTTP response or request; names in lower case, and the values of a
            repeated header joined by commas. Empty for other records.
        body: The content after those headers, as stored: if the crawler kept the server's compression or
            chunks, `headers` says so.
        warc: The fields of the record's own header; names in lower case.
    """

    type: str
    url: str
    date: datetime
    ip: str | None
    status: int | None
    headers: dict[str, str]
    body: bytes
    warc: dict[str, str]


@dataclass(frozen=True)
class WarcFile:
    """A split: a whole file. In the middle of one, what looks like the start of a record may be part of the
    content of another."""

    path: str
    types: tuple[str, ...] | None
    nbytes: int

    def rows(self, reading: Reading) -> Iterator[WebRecord]:
        """Yield the records of the types that were asked for."""
        number = 0

        def place() -> Place:
            return self.path, number

        reading.where = place
        with opened(self.path) as file:
            for number, found in enumerate(self._records(file), 1):
                fields = _lower(found.headers)
                kind = fields.get("warc-type", "").lower()
                body = self._body(found, fields, number)
                if self.types is not None and kind and kind not in self.types:
                    continue
                http, date = found.http_headers, found.record_date
                missing = "WARC-Type" if not kind else "WARC-Date" if date is None else ""
                if missing:
                    value = fields.get(missing.lower())
                    reason = f"its {missing} cannot be read: {value!r}" if value else f"it has no {missing}"
                    reading.reject(BadRow(f"no WARC record: {reason}", self.path, number))
                    continue
                reading.rows += 1
                yield WebRecord(
                    kind,
                    fields.get("warc-target-uri", "").strip("<>"),
                    date,
                    fields.get("warc-ip-address"),
                    None if http is None else http.status_code,
                    {} if http is None else _lower(http),
                    body,
                    fields,
                )

    def _records(self, file: Any) -> Iterator[Any]:
        found = fastwarc().ArchiveIterator(file, stream_detect=False)
        while True:
            try:
                record = next(found, None)
            except UnreadableFile:
                raise
            except OSError as error:
                raise UnreadableFile(self.path, f"{error}. It is damaged, or no WARC file.") from error
            if record is None:
                return
            yield record

    def _body(self, found: Any, fields: dict[str, str], number: int) -> bytes:
        """The content of a record. Raises: UnreadableFile: The file ends before it does."""
        expected = found.content_length  # what is left of it behind the HTTP headers
        body: bytes = found.reader.read()
        if not fields.get("content-length", "").isdigit() or len(body) != expected:
            raise UnreadableFile(self.path, f"record {number} is incomplete. The file is truncated.")
        return body


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.asdict().items()}


@dataclass(frozen=True)
class WarcFiles:
    """WARC files."""

    paths: Any
    types: tuple[str, ...] | None

    def splits(self) -> list[WarcFile]:
        """The files."""
        return [WarcFile(path, self.types, nbytes) for path, nbytes in find(self.paths)]

    def describe(self) -> str:
        """The source as plans show it."""
        types = "" if self.types is None else f": {', '.join(self.types)}"
        return f"warc {self.paths}{types}"
