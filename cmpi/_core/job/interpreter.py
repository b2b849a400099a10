"""`Interpreter`: how a process's Python was started, which the processes that it spawns inherit."""

from __future__ import annotations

from cmpi._base.frozen import frozen


@frozen
class Interpreter:
    """A Python program with its flags and the environment variables that matter only when it starts.

    A fork server that was started in the same way can fork a process; otherwise the process is started by
    exec.
    """

    program: str
    flags: list[str] = []
    settings: list[str] = []  # "NAME=value"; "NAME" alone: it is unset

    @property
    def argv(self) -> list[str]:
        """The command line up to the flags."""
        return [self.program, *self.flags]

    def at(self, program: str) -> Interpreter:
        """The same interpreter on another host."""
        return Interpreter(program, self.flags, self.settings)

    def with_changes(self, flags: list[str], settings: list[str]) -> Interpreter:
        """The same interpreter with these flags instead, if there are any."""
        return Interpreter(self.program, flags, settings) if flags or settings else self
