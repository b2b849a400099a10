"""All errors of cmpi: one class for each thing that you can do about it.

    CmpiError
    ├── UsageError          the call was wrong: correct it
    │   ├── NotRunning      this process is not part of a job: use cmpirun, or call init() in a script
    │   ├── ChannelExists   this process has an end with this peer and name: use that one
    │   ├── ChannelBusy     two threads use one end: give each a channel of its own
    │   ├── ContractMismatch  the two ends have different types: correct one of them
    │   ├── NotPicklable    part of a closure or message cannot be sent: the message shows which
    │   │                   (also a pickle.PicklingError)
    │   ├── WrongArguments  spawn cannot call a function with these arguments (also a TypeError)
    │   └── WrongValue      an argument has a value that is not accepted (also a ValueError)
    ├── NoCapacity          there is no room now: ask for less, or wait with spawn()
    │   └── NeverFits       no host is large enough: ask for less, or add hosts
    ├── NameTaken           another process has this name: choose another
    ├── TooManyRestarts     a supervisor gave up: see why its children end
    ├── ChannelClosed       you closed this end
    ├── EndOfChannel        the sender closed and everything was read
    ├── PeerClosed          the receiver closed: stop sending
    ├── PeerFailed          the other process aborted the channel by an exception: look at `cause`
    ├── MessagesLost        a mailbox ended with unprocessed messages: send them again, or not
    ├── PeerExited          the other process ended: look at `status`
    ├── RemoteTraceback     the cause of an exception from another process: read its traceback
    ├── CellFailed          a cell of %%cmpi raised: read the tracebacks of its ranks
    ├── JobFailed           processes of a guest's job failed: look at `failures`
    ├── LaunchError         a job or process could not be started: the message says why
    ├── ProtocolError       received bytes are not a frame of cmpi: report it
    └── InternalError       cmpi itself has a bug: report it

A wait that ran out raises the built-in `TimeoutError`.
"""

from __future__ import annotations

from _pickle import PicklingError

from cmpi._base.units import format_ranks
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
    "WrongValue",
]


class NotRunning(UsageError):
    """This process is not part of a cmpi job."""


class ChannelExists(UsageError):
    """This process already has an open end with this peer and name."""


class ChannelBusy(UsageError):
    """Two threads use one end of a channel at the same time."""


class ContractMismatch(UsageError):
    """A value does not have the channel's type, or the other end has another type."""


class NotPicklable(UsageError, PicklingError):
    """An object cannot be sent to another process; the message shows the path to the part at fault."""


class WrongArguments(UsageError, TypeError):
    """A function cannot be called with the arguments that it would get in the new process."""


class WrongValue(UsageError, ValueError):
    """An argument has a value that is not accepted."""


class NoCapacity(CmpiError):
    """The requested resources are not free at the moment."""


class NeverFits(NoCapacity):
    """The requested resources are more than the largest host has."""


class NameTaken(CmpiError):
    """Another living process has this name."""


class TooManyRestarts(CmpiError):
    """A supervisor's children ended more often than it may restart them.

    Attributes:
        restarts: How often each child was restarted; see `cmpi.supervise`.
    """

    def __init__(self, message: str, restarts: Mapping[str, int]) -> None:
        super().__init__(message)
        self.restarts = restarts


class ChannelClosed(CmpiError):
    """This end was closed by its own process."""


class EndOfChannel(CmpiError):
    """The sender closed the channel, and all its messages have been read."""


class PeerClosed(CmpiError):
    """The receiving end was closed; nothing sent will be read any more."""


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
    """An exception in the process at the other end aborted the channel; the process itself lives on.

    Attributes:
        pid: The process at the other end.
        cause: The exception there: its type and message, shortened if they are long.
    """

    def __init__(self, pid: Pid, cause: str) -> None:
        super().__init__(f"the peer {pid} failed, which aborted the channel: {cause}")
        self.pid = pid
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return PeerFailed, (self.pid, self.cause)


class MessagesLost(CmpiError):
    """A mailbox was closed, or its process ended, before all messages in it had been processed.

    Attributes:
        pid: The process that had the mailbox.
        status: How it ended; None if it closed the mailbox.
        count: How many messages of this sender were not processed. The first may have been processed in
            part.
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
    """The traceback of an exception in another process; it is the cause of the exception raised here."""

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
        """The lines that IPython shows: the ranks' tracebacks, not this process's."""
        return [f"{format_ranks(ranks)}: {text.rstrip()}" for text, ranks in self.tracebacks.items()]

    def __reduce__(self) -> tuple[object, ...]:
        return CellFailed, (self.tracebacks,)


class JobFailed(CmpiError):
    """Processes of a job failed, and no process has dealt with that; raised at the end of `with
    cmpi.Job()`.

    Attributes:
        failures: A `cmpi.Failure` for each of them.
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
    """cmpi itself has a bug; please report it."""
