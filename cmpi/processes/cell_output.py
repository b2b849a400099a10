"""Shows what the processes of a notebook's job print, under the cells that have spawned them."""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cmpi._core.origins import Origins

Cell = dict[str, Any]  # the message by which the front end asked for its execution
Piece = tuple[Cell | None, int, str]  # None: it belongs to no cell


class CellOutput:
    """Reads the output of a job in its JSON form, in a thread of its own.

    Output of a process goes to the cell that has spawned it or its ancestor, even if another cell runs now.
    What belongs to no cell, such as the output of a pool's tasks, goes to the present one.

    Args:
        shell: The kernel's shell.
        write: Writes text to this process's own output, by descriptor.
    """

    def __init__(self, shell: Any, write: Callable[[int, str], None]) -> None:
        self._shell, self._write = shell, write
        self._lock = threading.Lock()
        self._origins = Origins[Cell]()

    def claim(self, pids: list[int]) -> None:
        """The cell that runs in the calling thread or task has spawned these processes."""
        cell = self._shell.get_parent()
        with self._lock:
            self._origins.claim(pids, cell)

    def pump(self, pipe: int) -> None:
        """Show everything until the pipe ends."""
        rest, data = b"", b"more"
        while data:
            data = os.read(pipe, 65536)
            *lines, rest = (rest + data).split(b"\n")
            # Pieces for the same place are shown at once: each call has to wait for the kernel's thread.
            for (_, fd), group in itertools.groupby(self._pieces(lines), lambda it: (id(it[0]), it[1])):
                pieces = list(group)
                self._show(pieces[0][0], fd, "".join(text for _, _, text in pieces))
        if rest:
            self._show(None, 1, rest.decode(errors="replace"))
        os.close(pipe)

    def _pieces(self, lines: list[bytes]) -> Iterator[Piece]:
        for line in lines:
            try:
                event = json.loads(line)
                kind = event["event"]
            except (ValueError, TypeError, KeyError):  # by a program that MPI_Comm_spawn has started
                yield None, 1, line.decode(errors="replace") + "\n"
                continue
            if event.get("pid") is None:
                continue
            pid = int(event["pid"], 16)
            with self._lock:
                if kind == "spawn" and event["parent"] is not None:
                    self._origins.spawned(pid, int(event["parent"], 16))
                elif kind == "exit":
                    self._origins.ended(pid)
                elif kind == "output":
                    yield self._origins.of(pid), event["fd"], _text(event)

    def _show(self, cell: Cell | None, fd: int, text: str) -> None:
        kernel, stream = self._shell.kernel, (sys.stdout, sys.stderr)[fd - 1]
        captured = getattr(stream, "session", None) is not kernel.session  # by %%capture, for example
        if cell is None or (captured and _id(cell) == _id(self._shell.get_parent())):
            self._write(fd, text)
            return
        try:
            if not captured:
                stream.flush()  # what the cell itself has printed comes first
            name = ("stdout", "stderr")[fd - 1]
            content = {"name": name, "text": text}
            topic = f"stream.{name}".encode()
            kernel.session.send(kernel.iopub_socket, "stream", content, parent=cell, ident=topic)
        except Exception:  # of ZeroMQ's own kinds: the kernel is ending. Read on, so that nobody blocks.
            return


def of_this_kernel(write: Callable[[int, str], None]) -> CellOutput | None:
    """For a process that is a Jupyter kernel; None in others. Args: as `CellOutput`."""
    if "ipykernel" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return CellOutput(shell, write) if hasattr(shell, "kernel") else None


def _text(event: dict[str, Any]) -> str:
    if "data" in event:
        return str(event["data"])
    return base64.b64decode(event["data_base64"]).decode(errors="replace")


def _id(cell: Cell) -> object:
    return cell.get("header", {}).get("msg_id")
