"""Copies the program to hosts that do not have it: chooses and packs the folder, and translates paths."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import tempfile

from cmpi._base.frozen import frozen
from cmpi._core.protocol import launcher_agent
from cmpi.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

LARGEST_BYTES = 256 << 20  # a larger folder is sent only if the user names it
_SKIPPED = {".git", ".hg", ".svn", "__pycache__", ".cmpi", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


@frozen
class Shipment:
    """A folder that is sent, and its path on the hosts that receive it."""

    folder: str
    there: str

    def path(self, path: str, cwd: str) -> str:
        """Translate a path inside the folder to its path there; leave other paths unchanged."""
        whole = os.path.normpath(os.path.join(cwd, path))
        if whole == self.folder:
            return self.there
        if whole.startswith(self.folder.rstrip("/") + "/"):
            return self.there + whole[len(self.folder.rstrip("/")) :]
        return path

    def argv(self, argv: list[str], cwd: str) -> list[str]:
        """The command with its paths translated."""
        return [self.path(arg, cwd) if os.path.exists(os.path.join(cwd, arg)) else arg for arg in argv]


def program_file(argv: list[str], cwd: str) -> str:
    """The user's own file that is run: `job.py` of `python job.py`; "" if there is none.

    A program that is found on PATH (python, hostname) is assumed to be installed on every host.
    """
    for arg in argv[:1] if argv and "/" in argv[0] else argv[1:]:
        if not arg.startswith("-"):
            path = os.path.normpath(os.path.join(cwd, arg))
            return path if os.path.isfile(path) else ""
        if arg in ("-c", "-m"):
            return ""
    return ""


class Unpacker:
    """Collects the pieces of an archive and unpacks it.

    `finish` returns any failure (no space, a broken archive, a forbidden link) and nothing raises, because
    the loop that feeds the pieces serves a whole host.

    Args:
        scratch: A folder for the archive while it grows.
    """

    def __init__(self, scratch: str) -> None:
        self._fault = ""
        self._archive: IO[bytes] | None = None
        try:
            self._archive = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        except OSError as error:
            self._fail(error)

    def take(self, piece: bytes) -> None:
        """Take the next piece; after a failure it is dropped."""
        try:
            if self._archive is not None:
                self._archive.write(piece)
        except OSError as error:
            self._fail(error)

    def finish(self, there: str) -> str:
        """Unpack to the folder `there`; returns why that failed, or "". Blocks: for the unpacking."""
        if self._archive is not None:
            try:
                self._archive.seek(0)
                with self._archive, tarfile.open(fileobj=self._archive) as tar:
                    tar.extractall(there)
            except Exception as error:
                self._fail(error)
        return f"cannot unpack the program to {there}: {self._fault}" if self._fault else ""

    def _fail(self, error: Exception) -> None:
        self._fault = getattr(error, "strerror", None) or str(error) or type(error).__name__
        archive, self._archive = self._archive, None
        if archive is not None:
            with contextlib.suppress(OSError):  # it may flush, on the disk that is full
                archive.close()


def pieces(archive: IO[bytes], shipment: Shipment) -> Iterator[launcher_agent.Unpack]:
    """Yield the frames that send the archive to a host; hosts may be served at the same time."""
    at, piece = 0, os.pread(archive.fileno(), launcher_agent.PIECE_BYTES, 0)
    while piece:
        at += len(piece)
        following = os.pread(archive.fileno(), launcher_agent.PIECE_BYTES, at)
        yield launcher_agent.Unpack(shipment.folder, shipment.there, piece, not following)
        piece = following


def pack(folder: str, *, asked: bool) -> tuple[IO[bytes], str]:
    """Pack the folder; returns the archive, which the caller closes, and a name made of its contents.

    Caches, version control folders and virtual environments are left out.

    Raises:
        UsageError: There is no such folder; or something in it cannot be read; or it holds more than
            `LARGEST_BYTES` and was not `asked` for.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"--ship {folder}: no such folder")
    archive = tempfile.TemporaryFile()  # noqa: SIM115
    total = 0

    def wanted(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal total
        path = os.path.join(folder, item.name)
        if os.path.basename(item.name) in _SKIPPED or os.path.exists(f"{path}/pyvenv.cfg"):
            return None
        if not (item.isfile() or item.isdir() or item.issym()):
            return None  # sockets and the like
        total += item.size
        if total > LARGEST_BYTES and not asked:
            raise UsageError(
                f"some hosts lack {folder}, which is too large to send unasked (over {LARGEST_BYTES >> 20} "
                "MiB). Name a folder to send with --ship DIR, or one that is there with workdir= in the "
                "hostfile"
            )
        item.uid = item.gid = 0
        item.uname = item.gname = ""
        return item

    try:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in sorted(os.listdir(folder)):
                tar.add(os.path.join(folder, name), name, filter=wanted)
        archive.seek(0)
        digest = hashlib.sha256()
        while piece := archive.read(1 << 20):
            digest.update(piece)
        archive.seek(0)
    except (OSError, tarfile.TarError) as error:
        archive.close()
        raise UsageError(f"cannot send {folder} to the other hosts: {error}") from None
    except BaseException:
        archive.close()
        raise
    return archive, f"ship-{digest.hexdigest()[:16]}"
