"""The standard logs of Amazon CloudFront: one record for each request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cmpi._core.data.records import record_type
from cmpi.data.errors import BadRow, described
from cmpi.data.sources import lines
from cmpi.data.sources.lines import Part
from cmpi.data.sources.reading import Reading
from cmpi.data.sources.text import Lines

DOCUMENTED = """
    date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer)
    cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header
    cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher
    x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port
    time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start
    sc-range-end
"""
FIELDS = DOCUMENTED.split()
INTEGERS = (
    "sc-bytes",
    "sc-status",
    "cs-bytes",
    "c-port",
    "sc-content-len",
    "sc-range-start",
    "sc-range-end",
)
TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(INTEGERS, int),
    "time-taken": float,
    "time-to-first-byte": float,
}


def column_of(field: str) -> str:
    """The column for a field of the log.

    >>> column_of("cs(User-Agent)"), column_of("x-edge-location")
    ('cs_user_agent', 'x_edge_location')
    """
    return re.sub(r"\W+", "_", field).strip("_").lower()


class Format:
    """How to turn lines into records, by the `#Fields` header that precedes them.

    The columns are always those of `FIELDS`, whichever the file has; then come fields that are not among
    them. `date` and `time` are one column.
    """

    def __init__(self, header: str) -> None:
        self.fields = header.split()
        others = [field for field in self.fields if field not in FIELDS]
        self._every = ("time", *FIELDS[2:], *others)
        self._record = record_type(tuple(map(column_of, self._every)))._make

    def record(self, line: str) -> Any:
        """The record of a line. Raises: WrongField."""
        values = line.split("\t")
        if len(values) != len(self.fields):
            raise WrongField(f"{len(values)} fields where #Fields names {len(self.fields)}")
        by_field: dict[str, Any] = {}
        for field, text in zip(self.fields, values):
            convert = TYPES.get(field)
            try:
                by_field[field] = None if text == "-" else text if convert is None else convert(text)
            except ValueError as error:
                raise WrongField(described(error), column_of(field)) from error
        date, time = by_field.pop("date", None), by_field.get("time")
        if date is not None and time is not None:
            try:
                at = datetime.strptime(f"{date} {time}", "%Y-%m-%d %H:%M:%S")
            except ValueError as error:
                raise WrongField(described(error), "time") from error
            by_field["time"] = at.replace(tzinfo=timezone.utc)
        else:
            by_field["time"] = None
        return self._record(map(by_field.get, self._every))


class WrongField(ValueError):
    """A line is not as its header says.

    Attributes:
        column: The column at fault, if it is known.
    """

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True)
class CloudFrontLog:
    """A split: a whole file, because its header may change between two lines, if files were joined."""

    part: Part

    @property
    def nbytes(self) -> int:
        """The size of the file."""
        return self.part.nbytes

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the records; empty lines are skipped."""
        form: Format | None = None
        for line in Lines(self.part).rows(reading):
            if line.startswith("#"):
                name, _, value = line.partition(":")
                if name == "#Fields":
                    form = Format(value)
                continue
            if not line:
                continue
            try:
                if form is None:
                    raise WrongField("no CloudFront log: a #Fields header must come before the requests")
                row = form.record(line)
            except WrongField as error:
                file, number = reading.where()
                reading.reject(BadRow(str(error), file, number, error.column), error)
                continue
            yield row


@dataclass(frozen=True)
class CloudFrontLogs:
    """Log files."""

    paths: Any

    def splits(self) -> list[CloudFrontLog]:
        """The files."""
        return list(map(CloudFrontLog, lines.parts(self.paths, lines.WHOLE, "utf-8", "replace", False)))

    def describe(self) -> str:
        """The source as plans show it."""
        return f"cloudfront {self.paths}"
