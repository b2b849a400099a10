"""Processes: joining the job, spawning, waiting, killing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cmpi._base.brief import brief
from cmpi._base.interrupts import came_from_handler
from cmpi._core.job import erlang_links
from cmpi._core.protocol import process_process, process_root
from cmpi._runtime.process import context, inheritance
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi._runtime.process.root_connection import ROOM
from cmpi._runtime.process.signal_guard import uncut
from cmpi.channels.sender import Sender
from cmpi.errors import NeverFits, NoCapacity, UsageError
from cmpi.identifiers import NO_PID, PACK, Capacity, ExitStatus, Pid, Resources
from cmpi.processes import results
from cmpi.processes.call import Call, name_of

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node


def init(resources: Resources | None = None) -> None:
    """Join the job; outside of one, start this script again under `cmpirun` and never return.

    A process that is more than a script (an interactive session, a notebook, pytest, a server) is not
    started again: a job starts for it, as by `cmpi.Job()`, and it joins that. A line on stderr says so.

    Args:
        resources: What this process needs. None: the default. Not for one that is not started again.

    Raises:
        UsageError: multiprocessing has started this process, or it asks for resources and cannot.
        LaunchError: cmpirun cannot be started.

    Under `cmpirun` it is implied by the first use of anything else. Call it in
    `if __name__ == "__main__":`, before anything that should happen only once.
    Blocks: until the process has joined. Source: Constellation's `init(Resources)`.
    """
    if not context.in_job():
        from cmpi.processes import job, restart

        if restart.can_restart():
            restart.restart()
        if resources is not None:
            raise UsageError(
                "this process is not started again under cmpirun, and joins a job as it is: "
                "init() takes no resources here"
            )
        job.start_for_session()
    context.join(resources)


def pid() -> Pid:
    """This process. Blocks: at the first use, until it has joined the job."""
    return context.current().pid


def parent() -> Pid | None:
    """Who spawned this process; None for a rank that cmpirun started. Blocks: as `pid`."""
    return context.current().parent


def world() -> list[Pid]:
    """The ranks that cmpirun started with -n, in the order of their ranks; in a process of a group, those
    of the group (see `spawn_group`). Blocks: as `pid`."""
    return list(context.current().world)


def resources() -> Resources:
    """What this process was granted. Blocks: as `pid`."""
    return context.current().resources


def spawn(
    f: Callable[..., object],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    timeout: float | None = None,
    link: bool = False,
    name: str | None = None,
    result: bool = False,
    mpi: bool = False,
) -> Pid:
    """Start a new process that runs `f(parent, *args, **kwargs)`, where `parent` is this process's Pid.

    Args:
        f: A function, lambda, closure or other callable. It and what it captures travel by value. An
            `async def` runs in an event loop of its own.
        args: Further arguments for it.
        kwargs: Keyword arguments for it.
        resources: What the new process needs. None: see `Resources`.
        timeout: Longest wait for room, in seconds. None waits for ever.
        link: Link the two from the start: see `link`.
        name: What people call it in the output and in reports; several may have the same. None: the
            name of the function, or the one by which it is registered.
        result: Keep what f returns or raises until this process asks for it, by `cmpi.result(pid)`.
        mpi: Start MPI before f runs. False: it starts when f, or what f imports, imports `mpi4py.MPI`; ask
            for it if f uses MPI otherwise, as by ctypes or by a library that is linked to it.

    Returns:
        The new process. Channels to it may be opened at once, though it may still be starting;
        should it fail to start, `wait` says so.

    Raises:
        NotPicklable: Something in `f` or its arguments cannot travel; nothing was started.
        WrongArguments: `f` cannot be called so; nothing was started.
        NeverFits: No host of the job is that large.
        TimeoutError: There was no room in time; nothing was started.

    Blocks: until the scheduler has room (a fair queue), and for a closure of more than 64 KiB
        until that has been sent. Thread-safe.
    Source: Constellation's `spawn`; the process is one that `MPI_Comm_spawn` started.
    """
    refuse_in_loop("spawn()", "`await cmpi.aspawn(...)`")
    return _Order(Call(f, args, kwargs, result=result), resources, name, tie=_tie(link), mpi=mpi).run(
        timeout
    )[0]


def spawn_tied(
    f: Callable[..., object],
    args: tuple[Any, ...],
    resources: Resources | None,
    tie: int,
    timeout: float | None = None,
    name: str | None = None,
) -> Pid:
    """As `spawn`, with a tie of `relations`."""
    return _Order(Call(f, args), resources, name, tie=tie).run(timeout)[0]


async def aspawn(
    f: Callable[..., object],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    link: bool = False,
    name: str | None = None,
    result: bool = False,
    mpi: bool = False,
) -> Pid:
    """As `spawn`, in an event loop. Cancelled while there is no room, it starts nothing."""
    order = _Order(Call(f, args, kwargs, result=result), resources, name, tie=_tie(link), mpi=mpi)
    (child,) = order.accepted(await order.node.root.ask_async(order.frame, ROOM))
    if not order.inline:
        with Sender[Any](child, name=process_process.CLOSURE_CHANNEL) as sender:
            await sender._asend(order.closure)
    return child


def try_spawn(
    f: Callable[..., object],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    name: str | None = None,
    result: bool = False,
    mpi: bool = False,
) -> Pid:
    """As `spawn`, but raise `NoCapacity` at once if there is no room now."""
    return _Order(Call(f, args, kwargs, result=result), resources, name, wait=False, mpi=mpi).run()[0]


def spawn_group(
    n: int,
    f: Callable[..., object],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    timeout: float | None = None,
    link: bool = False,
    name: str | None = None,
    result: bool = False,
) -> list[Pid]:
    """Start n processes as one MPI world: in each, `MPI.COMM_WORLD` has size n and its collectives work,
    and `cmpi.world()` is the list that this returns.

    They are placed at once or not at all, on one host or on several, and stand and fall together as
    the ranks of `cmpirun -n` do. Each runs `f(parent, *args, **kwargs)`.

    Args, raises, blocks: as `spawn`; `resources` and `name` are those of each process.

    Returns:
        The processes, by rank.

    Source: `MPI_Comm_spawn` with maxprocs n.
    """
    if not isinstance(n, int) or n < 1:
        raise UsageError(f"a group has 1 process or more; found {brief(n)}")
    refuse_in_loop("spawn_group()", "`await asyncio.to_thread(cmpi.spawn_group, ...)`")
    return _Order(Call(f, args, kwargs, result=result), resources, name, tie=_tie(link), n=n).run(timeout)


def _tie(link: bool) -> int:
    return erlang_links.LINK if link else erlang_links.NO_TIE


class _Order:
    """A closure on its way to the scheduler."""

    def __init__(
        self,
        call: Call,
        resources: Resources | None,
        name: str | None,
        *,
        wait: bool = True,
        tie: int = erlang_links.NO_TIE,
        n: int = 1,
        mpi: bool = False,
    ) -> None:
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise UsageError(f"the name of a process is text, and not empty; found {brief(name)}")
        self._label, self._wait, self._tie, self._n = _label(call.f), wait, tie, n
        self._mpi = mpi
        self._name = name or ""
        self._wanted = Resources() if resources is None else resources
        self._result = call.result
        self.node = context.current()  # first: then the script has its name in the job
        self.closure = call.pickled()
        self.inline = isinstance(self.closure, bytes)

    def frame(self, request: int) -> process_root.Spawn:
        """The request."""
        interpreter = inheritance.interpreter()
        changed = interpreter != self.node.interpreter
        return process_root.Spawn(
            request=request,
            cpu_units=self._wanted.cpu_units,
            memory_bytes=self._wanted.memory_bytes,
            label=self._label,
            closure=self.closure if isinstance(self.closure, bytes) else b"",
            context=context.surroundings(),
            inline=self.inline,
            wait=self._wait,
            asks_cpus=self._wanted.asks_cpus,
            asks_memory=self._wanted.asks_memory,
            tie=self._tie,
            host=self._wanted.host or "",
            near=NO_PID if self._wanted.near is None else self._wanted.near.value,
            pack=self._wanted.place == PACK,
            n=self._n,
            mpi=self._mpi,
            name=self._name,
            flags=interpreter.flags if changed else [],
            settings=interpreter.settings if changed else [],
        )

    def accepted(self, reply: Any) -> list[Pid]:
        """The processes of a reply; their closure may still have to be sent.

        Raises:
            NoCapacity, NeverFits: The scheduler has refused.
        """
        if isinstance(reply, process_root.Refused):
            raise (NeverFits if reply.never else NoCapacity)(reply.reason)
        if self._tie == erlang_links.LINK:
            with self.node.lock:
                for pid in reply.pids:
                    self.node.exits.tied(pid, True)
        children = [Pid(pid) for pid in reply.pids]
        if self._result:
            for child in children:
                results.expect(child)
        return children

    def run(self, timeout: float | None = None) -> list[Pid]:
        """Have the processes started. What a signal handler's exception keeps the caller from learning of
        is ended. Raises: as `accepted`; TimeoutError. Blocks: as `spawn`."""
        reply = None
        try:
            reply = self.node.root.ask(self.frame, timeout, ROOM)
            return self._take(reply)
        except BaseException as error:
            if came_from_handler(error) and isinstance(reply, process_root.Spawned):
                with uncut:
                    for pid in reply.pids:
                        results.forget(Pid(pid))
                        self.node.root.tell(process_root.Kill(pid, 9))
            raise

    def _take(self, reply: Any) -> list[Pid]:
        """As `accepted`, and send the closure if it is to follow. Blocks: for that."""
        children = self.accepted(reply)
        if not self.inline:
            for child in children:
                with Sender[Any](child, name=process_process.CLOSURE_CHANNEL) as sender:
                    sender._send(self.closure, None)
        return children


def wait(pid: Pid, timeout: float | None = None) -> ExitStatus:
    """Wait until a process has ended, and return how.

    Any process of the job may wait for any other, any number of times.

    Raises:
        TimeoutError: It runs on after `timeout` seconds.

    Blocks: until then. Source: POSIX `waitpid`, but not only for children.
    """
    refuse_in_loop("wait()", "`await cmpi.await_exit(pid)`")
    return _node_to_wait_for(pid).exits.wait_exit(pid, timeout)


async def await_exit(pid: Pid) -> ExitStatus:
    """As `wait`, in an event loop; `asyncio.wait_for` bounds it."""
    return await _node_to_wait_for(pid).exits.await_exit(pid)


def _node_to_wait_for(pid: Pid) -> Node:
    node = context.current()
    if pid == node.pid:
        raise UsageError("a process cannot wait for its own end")
    return node


def kill(pid: Pid, signal: int = 9) -> None:
    """Send a signal to a process; SIGKILL by default. One that has ended is no error.

    Its end then counts as asked for: `wait(pid).ok` is true, and cmpirun does not fail for it. The rest
    of a group, or of the ranks of `cmpirun -n`, ends with it, as asked for too.

    On Open MPI a process that is still in MPI_Init gets it when it is through that.

    Blocks: never. Source: POSIX `kill`.
    """
    if not 0 < signal < 65:
        raise UsageError(f"a signal is a number from 1 to 64; found {signal}")
    context.current().root.tell(process_root.Kill(pid.value, signal))


def capacity() -> Capacity:
    """What the job may use on all its hosts, and what of it is free now. Blocks: for one answer."""
    reply = context.current().root.ask(process_root.AskCapacity)
    return Capacity(
        Resources.of_units(reply.total_cpu_units, reply.total_memory_bytes),
        Resources.of_units(reply.free_cpu_units, reply.free_memory_bytes),
    )


def preload(*modules: str) -> None:
    """Have the fork server import these modules, so that processes spawned later start with them.

    A module that cannot be imported is reported on stderr; spawning goes on without it.

    Blocks: never. Source: `multiprocessing.set_forkserver_preload`.
    """
    for module in modules:
        if not isinstance(module, str):
            raise UsageError(f"preload takes names of modules; found {brief(module)}")
    folders = [folder for folder in sys.path if isinstance(folder, str)]  # Python ignores others, too
    context.current().root.tell(process_root.Preload(list(modules), folders))


def _label(f: Callable[..., object]) -> str:
    function = getattr(f, "func", f)  # of a functools.partial
    code = getattr(function, "__code__", None)
    where = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"{name_of(f)}{where}"
