"""Every error of cmpi: one class for each thing the reader can do about it.

    CmpiError
    ├── UsageError          the call was wrong: correct it
    │   ├── NotRunning      no runtime here: run under cmpirun, or call init() in a script
    │   ├── ChannelExists   a second end with the same peer and name: use the first
    │   ├── ChannelBusy     two threads at one end: give each a channel of its own
    │   ├── ContractMismatch  the two ends disagree about the type: correct one of them
    │   ├── NotPicklable    something in a closure or message cannot travel: see the path
    │   └── WrongArguments  a function cannot be called with what spawn gives it (also a TypeError)
    ├── NoCapacity          no room now: ask for less, or wait with spawn()
    │   └── NeverFits       more than any host has: ask for less, or add hosts
    ├── NameTaken           another process has this name: choose another
    ├── TooManyRestarts     a supervisor gave up: see why its children end
    ├── ChannelClosed       you closed this end
    ├── EndOfChannel        the sender closed and everything was read
    ├── PeerClosed          the receiver closed: stop sending
    ├── PeerFailed          an exception made the other process give the channel up: look at `cause`
    ├── MessagesLost        who had a mailbox ended before it had read all: send again, or not
    ├── PeerExited          the other process ended: look at `status`
    ├── RemoteTraceback     the cause of an exception from another process: read its traceback
    ├── CellFailed          a cell of %%cmpi raised: read the tracebacks of its ranks
    ├── JobFailed           processes of a guest's job failed: look at `failures`
    ├── LaunchError         a job or process could not be started: the message says why
    ├── ProtocolError       bytes that no peer of ours sends: report it
    └── InternalError       a promise of cmpi itself was broken: report it

A wait that ran out raises the built-in `TimeoutError`.
"""

from __future__ import annotations

from cmpi._base.usage_error import CmpiError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cmpi.identifiers import ExitStatus, Pid

__all__ = [
    "CellFailed",
    "ChannelBusy",
    "ChannelClosed",
    "ChannelExists",
    "CmpiError",
    "ContractMismatch",
    "EndOfChannel",
    "InternalError",
    "JobFailed",
    "LaunchError",
    "MessagesLost",
    "NameTaken",
    "NeverFits",
    "NoCapacity",
    "NotPicklable",
    "NotRunning",
    "PeerClosed",
    "PeerExited",
    "PeerFailed",
    "ProtocolError",
    "RemoteTraceback",
    "TooManyRestarts",
    "UsageError",
    "WrongArguments",
]


class NotRunning(UsageError):
    """This process is not part of a cmpi job."""


class ChannelExists(UsageError):
    """There is already an open end with this peer and name in this process."""


class ChannelBusy(UsageError):
    """Two threads use one end of a channel at the same time."""


class ContractMismatch(UsageError):
    """A value, or the type at the other end, is not of the channel's type."""


class NotPicklable(UsageError):
    """An object cannot be sent to another process; the message names the path to the culprit."""


class WrongArguments(UsageError, TypeError):
    """A function cannot be called with the arguments that it would be given in the new process."""


class NoCapacity(CmpiError):
    """The resources asked for are not free at the moment."""


class NeverFits(NoCapacity):
    """The resources asked for are more than the largest host has."""


class NameTaken(CmpiError):
    """Another living process has this name."""


class TooManyRestarts(CmpiError):
    """The children of a supervisor ended more often than it was told to restart them.

    Attributes:
        restarts: How often each was restarted; see `cmpi.supervise`.
    """

    def __init__(self, message: str, restarts: Mapping[str, int]) -> None:
        super().__init__(message)
        self.restarts = restarts


class ChannelClosed(CmpiError):
    """This end was closed by its own process."""


class EndOfChannel(CmpiError):
    """The sender closed the channel and all its messages were read."""


class PeerClosed(CmpiError):
    """The receiving end was closed; nobody will read what is sent."""


class PeerExited(CmpiError):
    """The process at the other end has ended.

    Attributes:
        pid: The process that ended.
        status: How it ended.
    """

    def __init__(self, pid: Pid, status: ExitStatus) -> None:
        super().__init__(f"the peer {pid} has ended: {status}")
        self.pid = pid
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return PeerExited, (self.pid, self.status)


class PeerFailed(CmpiError):
    """An exception made the process at the other end give the channel up; the process itself lives on.

    Attributes:
        pid: The process at the other end.
        cause: The exception there: its type and message, shortened if they are long.
    """

    def __init__(self, pid: Pid, cause: str) -> None:
        super().__init__(f"the peer {pid} gave the channel up because of an exception: {cause}")
        self.pid = pid
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return PeerFailed, (self.pid, self.cause)


class MessagesLost(CmpiError):
    """A process with a mailbox ended, or closed it, before it had dealt with all that was sent to it.

    Attributes:
        pid: The process that had the mailbox.
        status: How it ended; None if it closed the mailbox.
        count: How many messages of this sender it had not dealt with. Of the first it may have done a part.
    """

    def __init__(self, name: str, pid: Pid, status: ExitStatus | None, count: int) -> None:
        self._name = name
        how = "closed it" if status is None else f"ended: {status}"
        messages = "message" if count == 1 else "messages"
        super().__init__(
            f"{count} {messages} to mailbox {name!r} may be lost: {pid}, which had it, has {how}. "
            "The next send goes to the next process that has the name."
        )
        self.pid, self.status, self.count = pid, status, count

    def __reduce__(self) -> tuple[object, ...]:
        return MessagesLost, (self._name, self.pid, self.status, self.count)


class RemoteTraceback(CmpiError):
    """Where another process raised an exception: the cause of the one that is raised here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0].rstrip()}\n"""'


class CellFailed(CmpiError):
    """A cell of `%%cmpi` raised on some ranks.

    Attributes:
        tracebacks: Each distinct traceback, and the ranks that have it.
    """

    def __init__(self, tracebacks: Mapping[str, Sequence[int]]) -> None:
        self.tracebacks = tracebacks
        super().__init__("\n".join(self._render_traceback_()))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the ranks' tracebacks, rather than this process's."""
        return [
            f"{'ranks' if len(ranks) > 1 else 'rank'} {', '.join(map(str, ranks))}: {text.rstrip()}"
            for text, ranks in self.tracebacks.items()
        ]

    def __reduce__(self) -> tuple[object, ...]:
        return CellFailed, (self.tracebacks,)


class JobFailed(CmpiError):
    """Processes of a job failed, and nobody has dealt with that; raised at the end of `with cmpi.Job()`.

    Attributes:
        failures: A `cmpi.Failure` for each.
    """

    def __init__(self, name: str, failures: Sequence[object]) -> None:
        n = f"{len(failures)} processes" if len(failures) > 1 else "a process"
        super().__init__(f"{n} of {name} failed: {'; '.join(map(str, failures))}")
        self._name, self.failures = name, failures

    def __reduce__(self) -> tuple[object, ...]:
        return JobFailed, (self._name, self.failures)


class LaunchError(CmpiError):
    """A job or a process could not be started."""


class ProtocolError(CmpiError):
    """Bytes arrived that are not a frame of cmpi."""


class InternalError(CmpiError):
    """Something that cannot happen did; please report it."""
