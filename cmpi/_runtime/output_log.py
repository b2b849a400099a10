"""The kept output of a program that has no terminal: files of bounded size, written by the root, which any
number of processes of the same user can read at the same time."""

from __future__ import annotations

import os

from cmpi._core.protocol.wire import U8, Decoder, encode, frame, registry
from cmpi._runtime.linux.write_all import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 20
FILE_BYTES = 2 << 20  # a file that has this size is full
FILES = 4  # the oldest one is removed when there are more


@frame
class _LoggedPiece:
    """Output to descriptor 1 or 2."""

    fd: U8
    data: bytes


_PIECES = registry({141: _LoggedPiece})


class OutputLog:
    """Writes output into files of a folder, each named after the position of its first byte; only the last
    `FILES` files are kept. One thread writes.

    Args:
        folder: The folder, which is created with the first byte.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.nbytes = 0  # how much has been written since the beginning, kept or not
        self.grown: Callable[[], None] = lambda: None  # called in the writing thread
        self._files: list[int] = []  # their positions
        self._fd = -1

    def write(self, fd: int, data: bytes) -> None:
        """Append output to descriptor `fd`. Raises: OSError: the output is lost.

        Source: ours, because a reader must not be able to delay the program that writes.
        """
        for at in range(0, len(data), PIECE_BYTES):
            piece = encode(_LoggedPiece(fd, data[at : at + PIECE_BYTES]))
            if self._fd < 0 or self.nbytes - self._files[-1] >= FILE_BYTES:
                self._next_file()
            try:
                write_all(self._fd, piece)
            except OSError:
                os.ftruncate(self._fd, self.nbytes - self._files[-1])  # readers see whole pieces
                raise
            self.nbytes += len(piece)
        self.grown()

    def _next_file(self) -> None:
        self.close()
        os.makedirs(self.folder, 0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(f"{self.folder}/{self.nbytes}", flags, 0o600)
        self._files.append(self.nbytes)
        for position in self._files[:-FILES]:
            os.unlink(f"{self.folder}/{position}")
        del self._files[:-FILES]

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the files, after `close`."""
        try:
            for position in self._files:
                os.unlink(f"{self.folder}/{position}")
            if self._files:
                os.rmdir(self.folder)
        except OSError:
            pass  # the job's end removes what is left


class LogReader:
    """Reads what an `OutputLog` has written, while it may write on.

    Args:
        folder: The log's folder.
        skipped: Called with the number of bytes that were removed before they could be read.
    """

    def __init__(self, folder: str, skipped: Callable[[int], None]) -> None:
        self._folder, self._skipped = folder, skipped
        self._at = 0

    def read_to(self, end: int) -> Iterator[tuple[int, bytes]]:
        """The output from the end of the last call up to `end`, the log's `nbytes` at some time: pairs of a
        descriptor, 1 or 2, and what was written to it. Raises: OSError: The log was removed."""
        while self._at < end:
            positions = sorted(map(int, os.listdir(self._folder)))
            position = max([it for it in positions if it <= self._at], default=min(positions, default=end))
            try:
                fd = os.open(f"{self._folder}/{position}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # it has just been removed; if the folder was, too, listdir fails
            try:
                if position > self._at:
                    self._skipped(position - self._at)
                    self._at = position
                yield from self._read(fd, position, end)
            finally:
                os.close(fd)

    def _read(self, fd: int, position: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The output in one file, which holds whole pieces."""
        decoder = Decoder(_PIECES)
        size = min(end, position + os.fstat(fd).st_size)
        os.lseek(fd, self._at - position, os.SEEK_SET)
        while self._at < size:
            data = os.read(fd, min(PIECE_BYTES, size - self._at))
            self._at += len(data)
            for piece in decoder.feed(data):
                yield piece.fd, piece.data
