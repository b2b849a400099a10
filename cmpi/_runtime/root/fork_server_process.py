"""A fork server as those see it who start it: the root, or on another host the root's counterpart."""

from __future__ import annotations

import os
import time

from cmpi._runtime import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from cmpi._core.job.interpreter import Interpreter
else:
    import _signal as signal  # without the enums of `signal`

UP_S = 30.0  # until it has reported


class ForkServerProcess:
    """The one of this host, if it was started.

    Its end is noticed by `fileno`, also that of one which has not reported, whose connection nobody has.
    """

    def __init__(self) -> None:
        self._pid = self._pidfd = -1
        self.deadline_s: float | None = None  # when `tick` has something to do

    def start(self, interpreter: Interpreter) -> None:
        """Start it. Raises: OSError."""
        # Without what makes the root an MPI process: the stubs bring their own.
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
        self.deadline_s = time.monotonic() + UP_S

    def fileno(self) -> int:
        """The descriptor, for poll: it is ready when the fork server has ended. -1: there is none."""
        return self._pidfd

    def reported(self) -> None:
        """It stands ready, so that nothing is awaited of it any more."""
        self.deadline_s = None

    def tick(self, now_s: float) -> None:
        """End one that does not come up: what waits for it goes on without."""
        if self.deadline_s is not None and self.deadline_s <= now_s:
            self.deadline_s = None
            os.kill(self._pid, signal.SIGKILL)

    def ended(self) -> str:
        """Reap it; what has become of it, in words."""
        os.close(self._pidfd)
        self._pidfd, self.deadline_s = -1, None
        _, status = os.waitpid(self._pid, 0)
        signaled = os.WIFSIGNALED(status)
        how = f"signal {os.WTERMSIG(status)}" if signaled else f"exit code {os.WEXITSTATUS(status)}"
        return f"it has ended: {how}"
