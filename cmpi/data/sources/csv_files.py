"""CSV files: one record for each row."""

from __future__ import annotations

import csv
import io
import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cmpi._core.data.expressions import Expression
from cmpi._core.data.records import record_type
from cmpi.data.errors import BadRow, described
from cmpi.data.sources import lines
from cmpi.data.sources.csv_columns import batches_of, can_be_columns, schema_of, with_constants
from cmpi.data.sources.csv_layout import CsvLayout, Types
from cmpi.data.sources.files import opened
from cmpi.data.sources.lines import Part
from cmpi.data.sources.reading import Place, Reading
from cmpi.errors import UsageError


@dataclass(frozen=True)
class CsvPart:
    """A split of a CSV file."""

    part: Part
    layout: CsvLayout
    columnar: bool

    @property
    def schema(self) -> Any:
        """The types of the columns, if it is columnar."""
        return schema_of(self.layout)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the records."""
        return self.layout.names

    def batches(self, columns: tuple[str, ...] | None = None) -> Iterator[Any]:
        """Yield record batches, by default of the columns that were selected. Raises: NotColumnar,
        BadRow."""
        header, skip = self.layout.header, 0
        if self.layout.in_file:
            header = header_of(self.part, self.layout.delimiter, self.layout)
            skip = 1 if self.part.begin == 0 else 0
        names = self.layout.names if columns is None else columns
        own = dict(self.part.keys)
        keys = {name: own.get(name) for name in self.layout.keys}
        in_file = tuple(name for name in names if name not in keys)
        for batch in batches_of(self.part, self.layout, header, in_file, skip):
            yield with_constants(batch, names, keys, self.schema) if keys else batch

    @property
    def nbytes(self) -> int:
        """The size of its part of the file."""
        return self.part.nbytes

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the records; empty lines are skipped."""
        counted = [0]
        with opened(self.part.path) as file:
            texts = self.part.texts(file, reading, counted)
            reader = csv.reader(
                itertools.chain.from_iterable(io.StringIO(text, newline="") for text in texts),
                delimiter=self.layout.delimiter,
                strict=True,
            )

            def place() -> Place:
                return self.part.place(reader.line_num)

            reading.where = place
            header = self.layout.header
            if self.layout.in_file:
                if self.part.begin == 0:
                    header = _checked(next(reader, None), self.part.path, self.layout)
                else:
                    header = header_of(self.part, self.layout.delimiter, self.layout)
            for record in self._records(reader, header, reading):
                reading.rows += 1
                yield record

    def _records(self, reader: Any, header: tuple[str, ...], reading: Reading) -> Iterator[Any]:
        names, width = self.layout.names, len(header)
        make = record_type(names)._make
        pick: Any = None
        own = dict(self.part.keys)
        keys = [own.get(name) for name in self.layout.keys]
        every = (*header, *self.layout.keys)
        if names != every:
            index = {name: i for i, name in enumerate(every)}  # folders are later
            indexes = [index[name] for name in names]
            pick = operator.itemgetter(*indexes) if len(indexes) > 1 else lambda row: (row[indexes[0]],)
        types = [self.layout.types.get(name) for name in names]
        converts = any(types)
        while True:
            first = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                reading.reject(BadRow(f"no CSV: {error}", *self.part.place(first)), error)
                continue
            if values is None:
                return
            if len(values) != width:
                if values:
                    reason = f"{len(values)} fields where the header has {width}"
                    reading.reject(BadRow(reason, *self.part.place(first)))
                continue
            if keys:
                values += keys
            if pick is not None:
                values = pick(values)
            if converts:
                try:
                    values = [
                        value if kind is None else None if value == "" else kind(value)
                        for kind, value in zip(types, values)
                    ]
                except Exception as error:
                    self._reject_value(reading, first, names, types, values, error)
                    continue
            yield make(values)

    def _reject_value(
        self,
        reading: Reading,
        line: int,
        names: Sequence[str],
        types: Sequence[Any],
        values: Sequence[str],
        error: Exception,
    ) -> None:
        """Reject a row whose conversion raised, naming the column."""
        column = None
        for name, kind, value in zip(names, types, values):
            try:
                kind is None or value == "" or kind(value)
            except Exception:
                column = name
                break
        reading.reject(BadRow(described(error), *self.part.place(line), column), error)


@dataclass(frozen=True)
class CsvFiles:
    """CSV files with the same columns."""

    paths: Any
    split_bytes: int
    encoding: str
    errors: str
    delimiter: str
    header: tuple[str, ...] | None  # None: in the first row of each file
    wanted: tuple[str, ...] | None
    types: Types
    quoted_newlines: bool

    def splits(self) -> Iterator[CsvPart]:
        """Parts of the files. If quoted fields may contain line ends, each file is one split, because a
        reader that begins in the middle cannot know whether it is inside such a field."""
        divide = not self.quoted_newlines
        layout: CsvLayout | None = None
        columnar = False
        for part in lines.parts(self.paths, self.split_bytes, self.encoding, self.errors, divide):
            if layout is None:
                layout = self._layout(part)
                columnar = layout is not None and can_be_columns(part, layout)
            if layout is not None:
                yield CsvPart(part, layout, columnar)

    def _layout(self, part: Part) -> CsvLayout | None:
        header = self.header
        if header is None:
            header = header_of(part, self.delimiter)
            if not header and not part.begin:
                return None  # the file is empty: the next one has the header
        kinds = {name: type(value) for name, value in part.keys}
        every = (*header, *kinds)
        missing = [name for name in (*(self.wanted or ()), *self.types) if name not in every]
        if missing:
            raise UsageError(
                f"{part.path} has no column {missing[0]!r}; its columns are {', '.join(every)}"
            )
        return CsvLayout(
            header,
            self.header is None,
            self.wanted,
            self.types,
            self.delimiter,
            self.quoted_newlines,
            kinds,
        )

    def select(self, names: tuple[str, ...]) -> CsvFiles | None:
        """The same reader restricted to these columns."""
        if self.wanted is not None and not set(names) <= set(self.wanted):
            return None
        return replace(self, wanted=names, types={k: v for k, v in self.types.items() if k in names})

    def where(self, condition: Expression) -> None:
        """Return None: conditions are not pushed down into text."""
        return

    def describe(self) -> str:
        """The source as plans show it."""
        columns = "" if self.wanted is None else f": {', '.join(self.wanted)}"
        return f"csv {self.paths}{columns}"


def header_of(part: Part, delimiter: str, layout: CsvLayout | None = None) -> tuple[str, ...]:
    """The first row of a part's file; () if the file is empty."""
    with opened(part.path) as file:
        texts = replace(part, begin=0).texts(file, Reading(), [0])
        every = itertools.chain.from_iterable(io.StringIO(text, newline="") for text in texts)
        row = next(csv.reader(every, delimiter=delimiter), None)
    return tuple(row or ()) if layout is None else _checked(row, part.path, layout)


def _checked(row: list[str] | None, path: str, layout: CsvLayout) -> tuple[str, ...]:
    """The header of a file, after checking that it has the columns to be read."""
    if row is None:
        return layout.header
    header = tuple(row)
    if layout.wanted is None and header != layout.header:
        expected = ", ".join(layout.header)
        reason = f"the columns are {', '.join(header)}; those of the first file are {expected}. Name the "
        raise BadRow(reason + "ones that all files have with columns=", path, 1)
    missing = [name for name in layout.names if name not in layout.every(header)]
    if missing:
        raise BadRow(f"the columns are {', '.join(header)}; found no {missing[0]!r}", path, 1)
    return header
