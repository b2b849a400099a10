"""The extension for IPython and Jupyter: `%load_ext cmpi`, then `%%cmpi -n 4` above a cell."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from cmpi._runtime.process import context
from cmpi.errors import PeerExited, UsageError
from cmpi.processes import process
from cmpi.processes.cells import CellGroup

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_USAGE = "%%cmpi [-n N] [RANKS], %cmpi push NAME..., %cmpi pull NAME, %cmpi restart"


class _MagicParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; usage: {_USAGE}")


class Magics:
    """`%%cmpi` and `%cmpi`.

    Args:
        shell: The shell whose cells and variables they use.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._group: CellGroup | None = None
        self._n = 1

    def cell(self, line: str, cell: str) -> None:
        """`%%cmpi -n 4` runs the cell on each of 4 ranks, `%%cmpi 0,2` only on ranks 0 and 2."""
        parser = _MagicParser(add_help=False)
        parser.add_argument("-n", type=int, default=0)
        parser.add_argument("ranks", nargs="?", default="")
        options = parser.parse_args(line.split())
        group = self._of(options.n)
        shown = _Shown()
        ranks = _ranks(options.ranks, len(group.pids))
        self._try(group, lambda: group.run(cell, ranks, shown.show, shown.note))

    def line(self, line: str) -> Any:
        """`%cmpi push x` copies a variable to all ranks, `%cmpi pull x` returns its value on each rank, and
        `%cmpi restart` ends the ranks; the next cell starts new ones."""
        what, *names = line.split() or [""]
        if what == "restart" and not names:
            if self._group is not None:
                self._group.end()
            self._group = None
            return None
        group = self._of(0)
        if what == "push" and names:
            for name in names:
                if name not in self._shell.user_ns:
                    raise UsageError(f"%cmpi push: there is no variable {name!r}")
                self._try(group, partial(group.set, name, self._shell.user_ns[name]))
            return None
        if what == "pull" and len(names) == 1:
            return self._try(group, lambda: group.get(names[0]))
        raise UsageError(f"%cmpi {line}: usage: {_USAGE}")

    def _of(self, n: int) -> CellGroup:
        """The group; a new one if the old one has ended or has another size."""
        if n < 0:
            raise UsageError(f"-n {n}: expected a number of ranks, 1 or more")
        if not context.in_job():
            process.init()
            self._group = None  # it belonged to another job
        if self._group is not None and n not in (0, len(self._group.pids)):
            self._group.end()
            self._group = None
        if self._group is None:
            self._n = n or self._n
            self._group = CellGroup(self._n)
        return self._group

    def _try(self, group: CellGroup, act: Any) -> Any:
        try:
            return act()
        except PeerExited as error:
            self._group = None
            rank = group.pids.index(error.pid)
            what = f"rank {rank} has ended, and its group with it: {error.status}"
            print(f"{what}. The next %%cmpi makes a new one.", file=sys.stderr)
            raise
        except KeyboardInterrupt:
            self._group = None
            raise


class _Shown:
    """Shows the output of ranks, with the rank before each line."""

    def __init__(self) -> None:
        self._open: int | None = None  # the rank whose line is unfinished

    def show(self, rank: int, text: str) -> None:
        """Print it."""
        if self._open not in (None, rank):
            print()
            self._open = None
        for line in text.splitlines(keepends=True):
            print(line if self._open == rank else f"[{rank}] {line}", end="", flush=True)
            self._open = None if line.endswith("\n") else rank

    def note(self, text: str) -> None:
        """Show a note of cmpi's own."""
        if self._open is not None:
            print(flush=True)
            self._open = None
        print(text, file=sys.stderr, flush=True)


def _ranks(text: str, n: int) -> list[int]:
    """Parse the list of ranks that run a cell.

    >>> _ranks("", 3), _ranks("0,2", 3)
    ([0, 1, 2], [0, 2])
    """
    if not text:
        return list(range(n))
    ranks = [int(part) if part.isdigit() else -1 for part in text.split(",")]
    if any(not 0 <= rank < n for rank in ranks):
        raise UsageError(f"%%cmpi {text}: expected ranks from 0 to {n - 1}, separated by commas")
    return sorted(set(ranks))


def load(shell: Any) -> None:
    """Add the magics to a shell; see `cmpi.load_ipython_extension`."""
    magics = Magics(shell)
    shell.register_magic_function(magics.cell, "cell", "cmpi")
    shell.register_magic_function(magics.line, "line", "cmpi")
