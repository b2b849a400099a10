"""How the Python of a process was started, which the processes that it spawns inherit."""

from __future__ import annotations

from cmpi._base.frozen import frozen


@frozen
class Interpreter:
    """A program with its flags, and what of its environment counts from its start on only.

    A fork server that was started in the same way can fork a process; else the process is executed.
    """

    program: str
    flags: list[str] = []
    settings: list[str] = []  # "NAME=value"; "NAME" alone: it is not set

    @property
    def argv(self) -> list[str]:
        """The command, without what it is to run."""
        return [self.program, *self.flags]

    def at(self, program: str) -> Interpreter:
        """The same, of another host."""
        return Interpreter(program, self.flags, self.settings)

    def with_changes(self, flags: list[str], settings: list[str]) -> Interpreter:
        """The same, started with these instead, if there are any."""
        return Interpreter(self.program, flags, settings) if flags or settings else self
