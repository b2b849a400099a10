"""Lists, starts, stops and restarts the children of a running supervisor, from any process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cmpi.channels.call import call
from cmpi.errors import CmpiError, UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi.channels.call import Call
    from cmpi.processes.child import Child

KEY = "\0supervisor"  # the key of the mailbox in which a supervisor gets these requests


class ChildInfo(NamedTuple):
    """A child of a supervisor, as `which_children` returns it.

    Attributes:
        number: Its number in the order of starts; it identifies a child without a name.
        name: Its name, or "".
        pid: Its process; None if it is not running.
        state: "running", "stopping", "restarting" (waiting to be restarted) or "ended".
        restarts: How often it was restarted.
        runs: The function that it runs.
    """

    number: int
    name: str
    pid: Pid | None
    state: str
    restarts: int
    runs: str


def start_child(supervisor: str | Pid, child: Child, *, timeout: float | None = 5.0) -> Pid:
    """Have a supervisor start a new child, which becomes the last in its order.

    Args:
        supervisor: The name of the process that called `supervise`, or its Pid.
        child: As for `supervise`.
        timeout: Longest wait, in seconds. None: for ever.

    Returns:
        The child's process.

    Raises:
        UsageError: The supervisor is about to end, or already has a child of that name.
        NotPicklable, NeverFits: As for `spawn`.
        TimeoutError: No answer came in time: no process has that name, or it has not called `supervise`, or
            it is waiting for room for the child.
        PeerExited, PeerClosed: The supervisor has ended.

    Blocks: until the child was started. Source: Erlang/OTP `supervisor:start_child/2`.
    """
    pid: Pid = _ask(supervisor, ("start", child), timeout)
    return pid


def which_children(supervisor: str | Pid, *, timeout: float | None = 5.0) -> list[ChildInfo]:
    """Return the children of a supervisor, in the order of their starts.

    Args, raises: as `start_child`. Blocks: for one answer.
    Source: Erlang/OTP `supervisor:which_children/1`.
    """
    return [ChildInfo(*row) for row in _ask(supervisor, ("which", None), timeout)]


def terminate_child(supervisor: str | Pid, child: str | int | Pid, *, timeout: float | None = 5.0) -> None:
    """Have a supervisor stop a child, which stays stopped until `restart_child`.

    Args:
        supervisor: As for `start_child`.
        child: Its name, its number, or its process.
        timeout: As for `start_child`.

    Raises: as `start_child`; UsageError if it has no such child. Stopping a stopped child does nothing.

    Blocks: until the child has ended. Source: Erlang/OTP `supervisor:terminate_child/2`.
    """
    _ask(supervisor, ("terminate", child), timeout)


def restart_child(supervisor: str | Pid, child: str | int | Pid, *, timeout: float | None = 5.0) -> Pid:
    """Have a supervisor start a stopped child again. This does not count towards `max_restarts`.

    Args: as for `terminate_child`.

    Returns:
        The child's new process.

    Raises: as `start_child`; UsageError if it has no such child, or the child is running.

    Blocks: until the child was started. Source: Erlang/OTP `supervisor:restart_child/2`.
    """
    pid: Pid = _ask(supervisor, ("restart", child), timeout)
    return pid


def _ask(supervisor: str | Pid, request: Any, timeout: float | None) -> Any:
    return call(supervisor, request, timeout=timeout, _key=KEY)


class Desk:
    """Answers these requests in the supervisor: interprets them, and has `office` carry them out."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._leaving: dict[int, list[Call]] = {}  # by child: calls that wait for its end

    def serve(self, asked: Call) -> None:
        """Answer a request, now or when the child has ended."""
        what, argument = asked.request
        try:
            if what == "which":
                asked.reply([tuple(info) for info in self._office.infos()])
            elif what == "start":
                self._refuse_taken(argument.name)
                asked.reply(self._office.start_new(argument))
            elif what == "restart":
                asked.reply(self._office.start_again(self._find(argument, ("ended",)).number))
            else:
                child = self._find(argument)
                self._office.stop(child.number)
                if child.pid is None:
                    asked.reply()
                else:
                    self._leaving.setdefault(child.number, []).append(asked)
        except CmpiError as error:
            asked.fail(error)

    def ended(self, child: int) -> None:
        """Note that this child has ended, and answer the calls that wait for it."""
        for waiting in self._leaving.pop(child, ()):
            waiting.reply()

    def _refuse_taken(self, name: str) -> None:
        if name and any(info.name == name for info in self._office.infos()):
            raise UsageError(f"this supervisor already has a child {name!r}; restart_child starts it again")

    def _find(self, key: str | int | Pid, states: tuple[str, ...] = ()) -> ChildInfo:
        for info in self._office.infos():
            if key in (info.number, info.pid) or (info.name and key == info.name):
                if states and info.state not in states:
                    raise UsageError(
                        f"child {key!s} is {info.state}; only a child that has ended can be started"
                    )
                return info
        raise UsageError(f"this supervisor has no child {key!s}; which_children() lists its children")


class Office:
    """The actions of a supervisor for these requests."""

    def infos(self) -> list[ChildInfo]:
        """Information on all its children."""
        raise NotImplementedError

    def start_new(self, child: Child) -> Pid:
        """Start a new child."""
        raise NotImplementedError

    def start_again(self, number: int) -> Pid:
        """Start a child that has ended."""
        raise NotImplementedError

    def stop(self, number: int) -> None:
        """Stop a child, without a restart."""
        raise NotImplementedError
