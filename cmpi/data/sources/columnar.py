"""Parquet and Arrow IPC files, read by pyarrow, which selects columns and applies conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cmpi._core.data.expressions import Expression, can_be_true
from cmpi._core.data.partitions import Keys
from cmpi._core.data.records import record_type
from cmpi._core.data.splits import groups_by_size
from cmpi.data.errors import UnreadableFile
from cmpi.data.extras import fsspec, pyarrow
from cmpi.data.sources.files import File, find_with_keys
from cmpi.data.sources.reading import Place, Reading

BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Fragment:
    """A split: a file, or some of its row groups.

    Attributes:
        schema: The columns of the first file, and those that folders name.
    """

    path: str
    form: str
    row_groups: tuple[int, ...] | None
    schema: Any
    columns: tuple[str, ...] | None
    condition: Expression | None
    before: int = 0  # rows of the file that precede this split
    keys: Keys = ()  # the columns that the file's folders name
    nbytes: int = 0  # uncompressed
    columnar: ClassVar[bool] = True  # it has `batches`

    def batches(self, columns: tuple[str, ...] | None = None) -> Iterator[Any]:
        """Yield record batches, by default of the columns that were selected. Raises: UnreadableFile."""
        dataset, compute = pyarrow("dataset"), pyarrow("compute")
        try:
            groups = {} if self.row_groups is None else {"row_groups": self.row_groups}
            known = _expression(self.keys, self.schema, compute.field)
            fragment = _form(self.form).make_fragment(*_located(self.path), known, **groups)
            names = columns if columns is not None else self.columns
            yield from dataset.Scanner.from_fragment(
                fragment,
                schema=self.schema,
                columns=None if names is None else list(names),
                filter=None if self.condition is None else self.condition.arrow(compute.field),
                batch_size=BATCH_ROWS,
                use_threads=False,
            ).to_batches()
        except (pyarrow().ArrowException, OSError) as error:
            raise _unreadable(self.path, self.form, error, self._where()) from error

    def _where(self) -> str:
        """The part of the file that this is, for error messages."""
        groups = self.row_groups
        if not groups:
            return ""
        rows = f"which begin with row {self.before + 1:,}"
        return f" in the row groups {groups[0]} to {groups[-1]}, {rows}"

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the records."""
        counted = [self.before]

        def lists() -> Iterator[list[Any]]:
            for batch in self.batches():
                yield records(batch)
                counted[0] += batch.num_rows

        def place(i: int) -> Place:  # with a condition, rows are left out and their numbers unknown
            return self.path, 0 if self.condition is not None else counted[0] + i + 1

        return reading.lists(lists(), place)


def records(batch: Any) -> list[Any]:
    """The rows of a record batch or table."""
    make = record_type(tuple(batch.schema.names))._make
    if not batch.num_columns:
        return [make(())] * int(batch.num_rows)
    return list(map(make, zip(*(values_of(column) for column in batch.columns))))


def values_of(column: Any) -> list[Any]:
    """The values of an Arrow array as Python objects. Numbers without nulls are converted by numpy, which
    takes a fifth of the time."""
    kind, types = column.type, pyarrow("types")
    if column.null_count == 0 and (
        types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    ):
        values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return values
    found: list[Any] = column.to_pylist()
    return found


@dataclass(frozen=True)
class ColumnarFiles:
    """Parquet or Arrow IPC files. A column that a file lacks has the value None."""

    paths: Any
    form: str  # "parquet" or "ipc"
    split_bytes: int
    columns: tuple[str, ...] | None = None
    condition: Expression | None = None

    def splits(self) -> Iterator[Fragment]:
        """Groups of row groups; for IPC, files."""
        schema = None
        every = find_with_keys(self.paths)
        # If no file can match, one is read for its columns.
        for path, size, keys in list(filter(self._can_match, every)) or every[:1]:
            try:
                if self.form == "parquet":
                    file = _parquet_file(path)
                    found, metadata = file.schema_arrow, file.metadata
                else:
                    found, metadata = _form("ipc").make_fragment(*_located(path)).physical_schema, None
            except (pyarrow().ArrowException, OSError) as error:
                raise _unreadable(path, self.form, error) from error
            if schema is None:
                schema = with_keys(found, every)
                self._check(schema, path)
            if metadata is None:
                whole = Fragment(path, self.form, None, schema, self.columns, self.condition)
                yield replace(whole, nbytes=size, keys=keys)
                continue
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            before = 0
            for begin, end in groups_by_size([each.total_byte_size for each in groups], self.split_bytes):
                numbers = tuple(range(begin, end))
                nbytes = sum(each.total_byte_size for each in groups[begin:end])
                yield Fragment(
                    path, self.form, numbers, schema, self.columns, self.condition, before, keys, nbytes
                )
                before += sum(each.num_rows for each in groups[begin:end])

    def _can_match(self, file: File) -> bool:
        """Whether the condition can be true for rows of the file."""
        return self.condition is None or can_be_true(self.condition, dict(file.keys))

    def _check(self, schema: Any, path: str) -> None:
        needed = self.condition.columns() if self.condition is not None else set()
        for name in (*(self.columns or ()), *sorted(needed)):
            if name not in schema.names:
                raise UnreadableFile(
                    path, f"it has the columns {', '.join(schema.names)}; found no {name!r}"
                )

    def select(self, names: tuple[str, ...]) -> ColumnarFiles | None:
        """The same reader restricted to these columns."""
        if self.columns is not None and not set(names) <= set(self.columns):
            return None
        return replace(self, columns=names)

    def where(self, condition: Expression) -> ColumnarFiles | None:
        """The same reader restricted to rows for which the condition is true."""
        if self.columns is not None and not condition.columns() <= set(self.columns):
            return None
        both = condition if self.condition is None else self.condition & condition
        return replace(self, condition=both)

    def describe(self) -> str:
        """The source as plans show it."""
        columns = "" if self.columns is None else f": {', '.join(self.columns)}"
        condition = "" if self.condition is None else f" where {self.condition!r}"
        return f"{self.form} {self.paths}{columns}{condition}"


def with_keys(schema: Any, files: list[File]) -> Any:
    """A file's schema, and the columns that folders name."""
    for name in dict.fromkeys(name for file in files for name, _ in file.keys):
        if name not in schema.names:
            kind = type_of_key([dict(file.keys).get(name) for file in files])
            schema = schema.append(pyarrow().field(name, kind))
    return schema


def type_of_key(values: list[Any]) -> Any:
    """The Arrow type of a column that folders name, from its values."""
    return pyarrow().int32() if any(isinstance(value, int) for value in values) else pyarrow().string()


def _expression(keys: Keys, schema: Any, field: Any) -> Any:
    """The pyarrow expression that says which values a file has in the columns that its folders name."""
    found = None
    for name, value in keys:
        scalar = pyarrow().scalar(value, type_of_key([value])).cast(schema.field(name).type)
        known = field(name).is_null() if value is None else field(name) == scalar
        found = known if found is None else found & known
    return found


def _form(form: str) -> Any:
    dataset = pyarrow("dataset")
    return dataset.ParquetFileFormat() if form == "parquet" else dataset.IpcFileFormat()


def _located(path: str) -> tuple[str, Any]:
    """A path, and pyarrow's file system for it."""
    if "://" not in path:
        return path, pyarrow("fs").LocalFileSystem()
    system, inside = fsspec().url_to_fs(path)
    files = pyarrow("fs")
    return inside, files.PyFileSystem(files.FSSpecHandler(system))


def _parquet_file(path: str) -> Any:
    inside, system = _located(path)
    return pyarrow("parquet").ParquetFile(inside, filesystem=system)


def _unreadable(path: str, form: str, error: Exception, where: str = "") -> UnreadableFile:
    lines = str(error).strip().splitlines()
    reason = (lines[0] if lines else repr(error)).rstrip(".")
    return UnreadableFile(path, f"{reason}{where}. It is truncated, damaged, or no {form}.")
