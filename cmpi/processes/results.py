"""Results of spawned functions, for the process that spawned them with `result=True`.

At its end, the spawned process sends what the function returned or raised through a separate channel. The
spawning process keeps it until it is asked for, once. Without `result=True` nothing is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmpi._core.protocol import process_process
from cmpi._runtime.process import context
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi._transport import pickling
from cmpi.channels.receiver import Receiver
from cmpi.channels.sender import Sender
from cmpi.errors import (
    EndOfChannel,
    NotPicklable,
    PeerClosed,
    PeerExited,
    PeerFailed,
    RemoteTraceback,
    UsageError,
)
from cmpi.identifiers import ExitStatus, Pid

if TYPE_CHECKING:
    from typing import TypeAlias

    # Whether it returned; its value, or its pickled exception (empty: cannot be pickled); its traceback.
    Outcome: TypeAlias = tuple[bool, Any, str]

ENDING_S = 10.0  # how long a process that has failed may take to end


class _Wanted:
    """An outcome that was not taken yet."""

    def __init__(self, receiver: Receiver[Any]) -> None:
        self.receiver = receiver
        self.outcome: Outcome | None = None


_wanted: dict[Pid, _Wanted] = {}


def expect(pid: Pid) -> None:
    """Prepare to receive the result of a process that was just spawned."""
    _wanted[pid] = _Wanted(Receiver[Any](pid, name=process_process.RESULT_CHANNEL))


def deliver(parent: Pid, outcome: Outcome) -> None:
    """Send the outcome of this process. Blocks: as `send`.

    Raises:
        NotPicklable: The value cannot be sent. The parent got this error in its place.
    """
    fault = None
    with Sender[Any](parent, name=process_process.RESULT_CHANNEL) as sender:
        try:
            try:
                sender.send(outcome)
            except NotPicklable as error:
                fault = error
                sender.send(raised(error, f"{type(error).__name__}: {error}"))
        except (PeerExited, PeerClosed, PeerFailed):
            pass  # the parent has gone, so the result is not needed
    if fault is not None:
        raise fault


def raised(error: BaseException, trace: str) -> Outcome:
    """The outcome of a function that raised, with this traceback."""
    try:
        body = pickling.dumps(error)
        if not isinstance(body, bytes) or not isinstance(pickling.loads(body), BaseException):
            body = b""
    except Exception:  # for example because its __init__ needs arguments that pickle does not know
        body = b""
    return False, body, trace


def unpacked(outcome: Outcome) -> Any:
    """Return the value, or raise the exception again."""
    returned, value = _value(outcome)
    if returned:
        return value
    raise value


def _value(outcome: Outcome) -> tuple[bool, Any]:
    """Whether the function returned; its value, or the exception to raise."""
    returned, value, trace = outcome
    if returned:
        return True, value
    try:
        error = pickling.loads(value) if value else None
    except Exception:
        error = None
    if not isinstance(error, BaseException):
        last = trace.rstrip().rpartition("\n")[2]
        return False, RemoteTraceback(f"{last}\n\n{trace}")
    error.__cause__ = RemoteTraceback(trace)
    return False, error


def result(pid: Pid, timeout: float | None = None) -> Any:
    """Return the value of a function that this process has spawned with `result=True`.

    Args:
        pid: The spawned process.
        timeout: Longest wait, in seconds. None waits for ever.

    Returns:
        The function's value. It can be taken only once.

    Raises:
        Exception: What the function raised, with the spawned process's traceback as its cause.
        RemoteTraceback: It raised an exception that cannot be sent; the traceback is the message.
        PeerExited: The process ended in another way (a signal, `sys.exit`); see `status`.
        UsageError: There is no result of this process to ask for.
        TimeoutError: The function has not returned in time; you can ask again.

    Blocks: until the function has returned. Source: `concurrent.futures.Future.result`.
    """
    refuse_in_loop("result()", "`await cmpi.aresult(pid)`")
    wanted = _asked_for(pid)
    try:
        if wanted.outcome is None:
            wanted.outcome = wanted.receiver.recv(timeout=timeout)
    except TimeoutError:
        raise TimeoutError(f"{pid} has not returned within {timeout} s") from None
    except (EndOfChannel, PeerExited, PeerFailed):
        status = context.current().exits.wait_exit(pid, None)
        forget(pid)
        return _of_status(pid, status)
    if not wanted.outcome[0]:
        try:  # waiting for its end marks the failure as dealt with
            context.current().exits.wait_exit(pid, ENDING_S)
        except TimeoutError:
            pass  # it hangs in its exit handlers
    wanted.receiver.close()
    returned, value = _value(wanted.outcome)
    # No call follows, after which a signal handler's exception could lose the value.
    try:
        del _wanted[pid]
    except KeyError:
        pass  # another thread has asked, too
    if returned:
        return value
    raise value


async def aresult(pid: Pid) -> Any:
    """As `result`, in an event loop. For a timeout use `asyncio.wait_for`."""
    import asyncio

    wanted = _asked_for(pid)
    try:
        if wanted.outcome is None:
            wanted.outcome = await wanted.receiver.arecv()
    except (EndOfChannel, PeerExited, PeerFailed):
        forget(pid)
        return _of_status(pid, await context.current().exits.await_exit(pid))
    outcome = wanted.outcome
    forget(pid)
    if not outcome[0]:
        try:
            await asyncio.wait_for(context.current().exits.await_exit(pid), ENDING_S)
        except (TimeoutError, asyncio.TimeoutError):
            pass
    return unpacked(outcome)


def _asked_for(pid: Pid) -> _Wanted:
    context.current()  # in a forked process it raises: the outcomes there are the parent's
    wanted = _wanted.get(pid)
    if wanted is None:
        raise UsageError(
            f"there is no result of {pid}: this process must have spawned it with result=True, and the "
            "result can be taken only once"
        )
    return wanted


def forget(pid: Pid) -> None:
    """Discard the outcome of this process, which no caller will ask for."""
    wanted = _wanted.pop(pid, None)
    if wanted is not None:
        wanted.receiver.close()


def _of_status(pid: Pid, status: ExitStatus) -> None:
    """Judge a process that ended without an outcome: `sys.exit()` counts as returning None."""
    if status.code != 0 or status.requested:
        raise PeerExited(pid, status)
