"""The fork server as seen by the process that starts it: the root, or its counterpart on another host."""

from __future__ import annotations

import os

from cmpi._runtime import programs
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from cmpi._core.job.interpreter import Interpreter
else:
    import _signal as signal  # without the enums of `signal`

UP_S = 30.0  # until it must have reported


class ForkServerProcess:
    """The fork server of this host, if it was started.

    `fileno` shows its end, even before it has reported, when there is no connection yet.
    """

    def __init__(self) -> None:
        self._pid = self._pidfd = -1
        self.deadline_s: float | None = None  # when `tick` is due

    def start(self, interpreter: Interpreter) -> None:
        """Start the fork server. Raises: OSError."""
        # Omit the variables that make the root an MPI process: the stubs have their own.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PMI_", "PMIX_RANK", "PMIX_NAMESPACE"))
        }
        for setting in interpreter.settings:
            name, given, value = setting.partition("=")
            environment.pop(name, None)
            if given:
                environment[name] = value
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        argv = [*interpreter.argv, *programs.isolated(programs.FORK_SERVER)]
        self._pid = os.posix_spawn(argv[0], argv, environment, file_actions=[null])
        self._pidfd = os.pidfd_open(self._pid)
        self.deadline_s = clock.now_s() + UP_S

    def fileno(self) -> int:
        """The descriptor, for poll: it is ready when the fork server has ended. -1: there is no fork
        server."""
        return self._pidfd

    def reported(self) -> None:
        """The fork server has reported, so there is no deadline any more."""
        self.deadline_s = None

    def tick(self, now_s: float) -> None:
        """Kill a fork server that does not come up: processes that wait for it are started without it."""
        if self.deadline_s is not None and self.deadline_s <= now_s:
            self.deadline_s = None
            os.kill(self._pid, signal.SIGKILL)

    def ended(self) -> str:
        """Reap the fork server; return how it ended, in words."""
        os.close(self._pidfd)
        self._pidfd, self.deadline_s = -1, None
        _, status = os.waitpid(self._pid, 0)
        signaled = os.WIFSIGNALED(status)
        how = f"signal {os.WTERMSIG(status)}" if signaled else f"exit code {os.WEXITSTATUS(status)}"
        return f"it has ended: {how}"
