"""Writes notes about spawned processes, few however many processes there are."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.output.speaker import Speaker

FOLD_S = 0.25  # the first spawns are noted together after this time
MOST_FOLD_S = 30.0  # the longest that later ones wait
QUIET_S = 5.0  # after this long without spawns, the next ones count as the first again
MOST_LISTED = 3  # pids listed for one function
MOST_KINDS = 4  # functions, and spawning processes, named in one note


class SpawnNotes:
    """The state machine. Notes wait to be combined with later ones, each time twice as long.

    So n spawns one after another make about log2(n) notes, and the spawn of a single process makes one
    at once.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Speaker, Speaker]] = []  # the spawning process, the spawned one
        self._fold_s = FOLD_S
        self._due_s: float | None = None
        self._last_s = float("-inf")

    def add(self, parent: Speaker, child: Speaker, now_s: float) -> None:
        """Note that `parent` has spawned `child`."""
        if now_s - self._last_s > QUIET_S:
            self._fold_s = FOLD_S
        self._last_s = now_s
        self._waiting.append((parent, child))
        if self._due_s is None:
            self._due_s = now_s + self._fold_s

    def deadline_s(self) -> float | None:
        """When the waiting notes are due."""
        return self._due_s

    def awaits(self, pid: int) -> bool:
        """Whether the note on this process must be shown now, because its output is about to be."""
        return self._fold_s == FOLD_S and any(child.pid == pid for _, child in self._waiting)

    def take(self) -> list[tuple[Speaker, str]]:
        """Take the waiting notes: the spawning process, and what it spawned. The next ones wait longer."""
        by_parent: dict[Speaker, list[Speaker]] = {}
        for parent, child in self._waiting:
            by_parent.setdefault(parent, []).append(child)
        self._waiting, self._due_s = [], None
        self._fold_s = min(2 * self._fold_s, MOST_FOLD_S)
        notes = [(parent, _list(children)) for parent, children in by_parent.items()]
        if len(notes) <= MOST_KINDS:
            return notes
        rest = list(by_parent.items())[MOST_KINDS - 1 :]
        others = [child for _, children in rest for child in children]
        return [
            *notes[: MOST_KINDS - 1],
            (rest[0][0], f"{_list(others)} (by this process and {len(rest) - 1} more)"),
        ]


def _list(children: list[Speaker]) -> str:
    """Describe the spawned processes by titles, or by numbers for each name."""
    kinds: dict[str, list[Speaker]] = {}
    for child in children:
        kinds.setdefault(child.name, []).append(child)
    parts = []
    for name, same in list(kinds.items())[:MOST_KINDS]:
        if len(same) <= MOST_LISTED:
            parts += [child.title for child in same]
        else:
            parts.append(f"{len(same)} {name}")
    if len(kinds) > MOST_KINDS:
        n = sum(map(len, list(kinds.values())[MOST_KINDS:]))
        parts.append(f"{n} other{'s' if n > 1 else ''}")
    return ", ".join(parts)
