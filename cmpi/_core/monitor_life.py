"""The life of a monitor: when its process must not start or must end, when its slot is free again, and when
the monitor itself ends."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NO_PROCESS: Final = "no process"
RUNNING: Final = "running"
EXITED: Final = "exited"


class MonitorLife:
    """The state machine of a monitor. Methods are events and return decisions; never blocks.

    A monitor is asked to end by MPI's launcher, dismissed by the root, or not needed any more once its
    process and all descendants of the process have ended.

    Args:
        is_slot: It belongs to a slot, so that one process may follow another.
        fragile: MPI's launcher may end the whole job if it learns of a death too soon.
        linger_s: How long a fragile launcher is not told of a death, so that the rest of the world can end
            first.
    """

    def __init__(self, *, is_slot: bool, fragile: bool, linger_s: float) -> None:
        self._is_slot, self._fragile, self._linger_s = is_slot, fragile, linger_s
        self._process = NO_PROCESS
        self._linger_until_s = 0.0
        self._untouched = False  # the process that has exited never started MPI
        self._retired = False  # the monitor ends with this process
        self._dismissed = False
        self.ending = False  # MPI's launcher has asked the monitor to end, or there is nothing to run

    # -- its process -----------------------------------------------------------------------

    def process_started(self) -> None:
        """The process was started."""
        self._process = RUNNING

    def process_exited(self, code: int, now_s: float, *, untouched: bool) -> bool:
        """The process has ended; descendants of it may run on.

        Args:
            code: Its exit code.
            untouched: It is known never to have started MPI.

        Returns:
            True if the monitor must leave MPI's launcher now, because no other process can take its place.
        """
        self._process, self._untouched = EXITED, untouched
        if self.reusable:
            return False
        if self._fragile and code:
            self._linger_until_s = now_s + self._linger_s
        return True

    def process_removed(self) -> None:
        """The process and all its descendants have ended, so the slot is free for another one."""
        self._process = NO_PROCESS

    def cannot_run(self) -> None:
        """The process could not be started."""
        self.ending = True

    @property
    def running(self) -> bool:
        """Whether there is a process of which `process_exited` has not been called."""
        return self._process == RUNNING

    @property
    def reusable(self) -> bool:
        """Whether another process can take the place of the one that has exited: MPI's launcher has not
        noticed that one."""
        exited = self._process == EXITED and self._untouched
        return exited and self._is_slot and not self.ending and not self._retired

    # -- what others ask -------------------------------------------------------------------

    def told_to_end(self) -> None:
        """MPI's launcher, or the stub's end, asks the monitor to end, and its process with it."""
        self.ending = True

    def signalled(self, linger_s: float) -> bool:
        """The root has a signal for the process.

        Args:
            linger_s: The least time for which a fragile launcher is not told of the death.

        Returns:
            True if the process, which has not been started, counts as ended by that signal.
        """
        if self._process != NO_PROCESS:
            self._linger_s = max(self._linger_s, linger_s)
            return False
        if self.ending or self._is_slot:
            return False
        self.ending = True
        return True

    def dismiss(self) -> None:
        """The root does not need the monitor any more; a running process is killed first."""
        self._retired = True
        self._dismissed = self._process != RUNNING

    # -- its own end -----------------------------------------------------------------------

    def finished(self, now_s: float, *, root_gone: bool, over: bool) -> bool:
        """Whether the monitor ends now.

        Args:
            root_gone: The connection to the root is closed.
            over: The process has ended and was reported, and no descendant of it is left.
        """
        if root_gone or self._dismissed:
            return True
        if self._process == NO_PROCESS:
            return self.ending
        lingers = now_s < self._linger_until_s and not self.ending
        return self._process == EXITED and over and not lingers and not self.reusable
