"""`Speaker`: a process, as the output shows it."""

from __future__ import annotations


class Speaker:
    """A process, as the bridge shows it. `title` is its name for people; `rank` is None if it was
    spawned."""

    def __init__(
        self, pid: int, parent: int | None, host: str, rank: int | None, name: str, title: str, label: str
    ) -> None:
        self.pid, self.parent, self.host, self.rank = pid, parent, host, rank
        self.name, self.title, self.label = name, title, label
        self.number = 0  # in the order of the starts
