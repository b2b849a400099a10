"""Joins the job; spawns, awaits and kills processes."""

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
from cmpi.processes.function_call import FunctionCall, name_of

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node


def init(resources: Resources | None = None) -> None:
    """Join the job. Outside of a job, restart this script under `cmpirun`, and never return.

    An interactive session, a notebook, pytest or a server cannot be restarted. `init` then starts a job in
    the background, as `cmpi.Job()` does, and this process joins it. A line on stderr says so.

    Args:
        resources: What this process needs. None: the default. Not allowed if the process cannot be
            restarted.

    Raises:
        UsageError: multiprocessing has started this process, or `resources` is not allowed here.
        LaunchError: cmpirun cannot be started.

    Under `cmpirun`, any other call of cmpi implies `init()`. Call it in
    `if __name__ == "__main__":`, before anything that should happen only once.
    Blocks: until the process has joined. Source: Constellation's `init(Resources)`.
    """
    if not context.in_job():
        from cmpi.processes import job, restart

        if restart.can_restart():
            restart.restart()
        if resources is not None:
            raise UsageError(
                "this process cannot be restarted under cmpirun, so init() cannot reserve resources for "
                "it: call init() without arguments"
            )
        job.start_for_session()
    context.join(resources)


def pid() -> Pid:
    """Return this process's Pid. Blocks: at the first use, until it has joined the job."""
    return context.current().pid


def parent() -> Pid | None:
    """Return the process that spawned this one; None for a rank that cmpirun started. Blocks: as `pid`."""
    return context.current().parent


def world() -> list[Pid]:
    """Return the processes started with `cmpirun -n`, ordered by rank; in a process of a group, those of
    the group (see `spawn_group`). Blocks: as `pid`."""
    return list(context.current().world)


def resources() -> Resources:
    """Return the resources that this process was granted. Blocks: as `pid`."""
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
    detached: bool = False,
) -> Pid:
    """Start a new process that runs `f(parent, *args, **kwargs)`, where `parent` is this process's Pid.

    Args:
        f: A function, lambda, closure or other callable. It is sent by value, with what it captures. An
            `async def` runs in an event loop of its own.
        args: Further arguments for f.
        kwargs: Keyword arguments for f.
        resources: What the new process needs. None: see `Resources`.
        timeout: Longest wait for room, in seconds. None waits for ever.
        link: Link the two processes from the start: see `link`.
        name: Its name in output and reports, which need not be unique. None: the name under which it is
            registered, or the name of the function.
        result: Keep what f returns or raises until this process asks for it with `cmpi.result(pid)`.
        mpi: Start MPI before f runs. By default MPI starts when f, or a module that it imports, imports
            `mpi4py.MPI`. Set this if f uses MPI in another way, such as through ctypes or a library that is
            linked to MPI.
        detached: The process belongs to the job. Otherwise what a guest or a deployed program has spawned,
            and what that spawns, ends with it.

    Returns:
        The new process. Channels to it can be opened at once, even if it is still starting. If it fails to
        start, `wait` returns a status that says so.

    Raises:
        NotPicklable: Something in `f` or its arguments cannot be sent; no process was started.
        WrongArguments: `f` does not accept these arguments; no process was started.
        NeverFits: No host of the job is large enough.
        TimeoutError: There was no room in time; no process was started.

    Blocks: until the scheduler has room (its queue is fair), and for a closure of more than 64 KiB
        until that has been sent. Thread-safe.
    Source: Constellation's `spawn`; processes are started by `MPI_Comm_spawn`.
    """
    refuse_in_loop("spawn()", "`await cmpi.aspawn(...)`")
    return _Order(
        FunctionCall(f, args, kwargs, result=result),
        resources,
        name,
        tie=_tie(link),
        mpi=mpi,
        detached=detached,
    ).run(timeout)[0]


def spawn_tied(
    f: Callable[..., object],
    args: tuple[Any, ...],
    resources: Resources | None,
    tie: int,
    timeout: float | None = None,
    name: str | None = None,
) -> Pid:
    """As `spawn`, with one of the ties between parent and child that `erlang_links` defines."""
    return _Order(FunctionCall(f, args), resources, name, tie=tie).run(timeout)[0]


def spawn_while(
    wanted: Callable[[], bool],
    every_s: float,
    n: int,
    f: Callable[..., object],
    args: tuple[Any, ...],
    resources: Resources | None,
    name: str,
) -> list[Pid]:
    """As `spawn_group`, or `spawn` if n is 1, as long as the processes are wanted.

    Args:
        wanted: Called every `every_s` seconds while there is no room: whether to go on waiting.

    Raises: also TimeoutError: They were not wanted any more; no process was started.
    """
    order = _Order(FunctionCall(f, args), resources, name, n=n, shared=True)
    return order.run(every_s, wanted)


async def aspawn(
    f: Callable[..., object],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    link: bool = False,
    name: str | None = None,
    result: bool = False,
    mpi: bool = False,
    detached: bool = False,
) -> Pid:
    """As `spawn`, in an event loop. If it is cancelled while it waits for room, no process is started."""
    call = FunctionCall(f, args, kwargs, result=result)
    order = _Order(call, resources, name, tie=_tie(link), mpi=mpi, detached=detached)
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
    detached: bool = False,
) -> Pid:
    """As `spawn`, but raises `NoCapacity` at once if there is no room now."""
    call = FunctionCall(f, args, kwargs, result=result)
    return _Order(call, resources, name, wait=False, mpi=mpi, detached=detached).run()[0]


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
    detached: bool = False,
) -> list[Pid]:
    """Start n processes as one MPI world: in each, `MPI.COMM_WORLD` has size n and its collectives work,
    and `cmpi.world()` returns the same list as this call.

    Either all are placed, on one host or several, or none. If one fails, all end, like the ranks of
    `cmpirun -n`. Each runs `f(parent, *args, **kwargs)`.

    Args, raises, blocks: as `spawn`; `resources` and `name` apply to each process.

    Returns:
        The processes, by rank.

    Source: `MPI_Comm_spawn` with maxprocs n.
    """
    if not isinstance(n, int) or n < 1:
        raise UsageError(f"a group needs 1 process or more; found n={brief(n)}")
    refuse_in_loop("spawn_group()", "`await asyncio.to_thread(cmpi.spawn_group, ...)`")
    call = FunctionCall(f, args, kwargs, result=result)
    return _Order(call, resources, name, tie=_tie(link), n=n, detached=detached).run(timeout)


def _tie(link: bool) -> int:
    return erlang_links.LINK if link else erlang_links.NO_TIE


class _Order:
    """A request to spawn a closure."""

    def __init__(
        self,
        call: FunctionCall,
        resources: Resources | None,
        name: str | None,
        *,
        wait: bool = True,
        tie: int = erlang_links.NO_TIE,
        n: int = 1,
        mpi: bool = False,
        detached: bool = False,
        shared: bool = False,  # it does the work of many callers, and belongs to no cell of a notebook
    ) -> None:
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise UsageError(f"the name of a process must be a non-empty string; found {brief(name)}")
        if resources is not None and not isinstance(resources, Resources):
            raise UsageError(
                f"resources takes cmpi.Resources, such as Resources(cpus=2); found {brief(resources)}"
            )
        self._label, self._wait, self._tie, self._n = _label(call.f), wait, tie, n
        self._mpi, self._detached, self._shared = mpi, detached, shared
        self._name = name or ""
        self._wanted = Resources() if resources is None else resources
        self._result = call.result
        self.node = context.current()  # must come first: joining names the script, which pickling needs
        self.closure = call.pickled()
        self.inline = isinstance(self.closure, bytes)

    def frame(self, request: int) -> process_root.Spawn:
        """The request as a frame for the root."""
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
            detached=self._detached,
        )

    def accepted(self, reply: Any) -> list[Pid]:
        """Return the processes in a reply; the closure may still have to be sent to them.

        Raises:
            NoCapacity, NeverFits: The scheduler has refused the request.
        """
        if isinstance(reply, process_root.Refused):
            raise (NeverFits if reply.never else NoCapacity)(reply.reason)
        if not self._shared:
            self.node.claim(reply.pids)
        if self._tie == erlang_links.LINK:
            with self.node.lock:
                for pid in reply.pids:
                    self.node.exits.tied(pid, True)
        children = [Pid(pid) for pid in reply.pids]
        if self._result:
            for child in children:
                results.expect(child)
        return children

    def run(self, timeout: float | None = None, wanted: Callable[[], bool] = lambda: False) -> list[Pid]:
        """Have the processes started. If a signal handler's exception prevents the caller from getting
        their pids, they are ended. Args: as `RootConnection.ask`. Raises: as `accepted`; TimeoutError.
        Blocks: as `spawn`."""
        reply = None
        try:
            reply = self.node.root.ask(self.frame, timeout, ROOM, wanted)
            return self._take(reply)
        except BaseException as error:
            if came_from_handler(error) and isinstance(reply, process_root.Spawned):
                with uncut:
                    for pid in reply.pids:
                        results.forget(Pid(pid))
                        self.node.root.tell(process_root.Kill(pid, 9))
            raise

    def _take(self, reply: Any) -> list[Pid]:
        """As `accepted`, but also send a closure that was too large for the request. Blocks: for that."""
        children = self.accepted(reply)
        if not self.inline:
            for child in children:
                with Sender[Any](child, name=process_process.CLOSURE_CHANNEL) as sender:
                    sender._send(self.closure, None)
        return children


def wait(pid: Pid, timeout: float | None = None) -> ExitStatus:
    """Wait until a process has ended, and return its exit status.

    Any process of the job may wait for any other, any number of times.

    Raises:
        TimeoutError: The process has not ended after `timeout` seconds.

    Blocks: until the process has ended. Source: POSIX `waitpid`, but not only for children.
    """
    refuse_in_loop("wait()", "`await cmpi.await_exit(pid)`")
    return _node_to_wait_for(pid).exits.wait_exit(pid, timeout)


async def await_exit(pid: Pid) -> ExitStatus:
    """As `wait`, in an event loop. For a timeout use `asyncio.wait_for`."""
    return await _node_to_wait_for(pid).exits.await_exit(pid)


def _node_to_wait_for(pid: Pid) -> Node:
    node = context.current()
    if pid == node.pid:
        raise UsageError("a process cannot wait for its own end")
    return node


def kill(pid: Pid, signal: int = 9) -> None:
    """Send a signal to a process, by default SIGKILL. It is not an error if the process has ended.

    Its end then counts as requested: `wait(pid).ok` is true, and cmpirun does not fail because of it. The
    other processes of its group, or the other ranks of `cmpirun -n`, end with it; their ends count as
    requested, too.

    On Open MPI, a process that is still inside MPI_Init gets the signal when it has left that.

    Blocks: never. Source: POSIX `kill`.
    """
    if not 0 < signal < 65:
        raise UsageError(f"signal must be a number from 1 to 64; found {signal}")
    context.current().root.tell(process_root.Kill(pid.value, signal))


def capacity() -> Capacity:
    """Return the resources of the job on all its hosts, in total and free now. Blocks: for one answer."""
    reply = context.current().root.ask(process_root.AskCapacity)
    return Capacity(
        Resources.of_units(reply.total_cpu_units, reply.total_memory_bytes),
        Resources.of_units(reply.free_cpu_units, reply.free_memory_bytes),
    )


def preload(*modules: str) -> None:
    """Have the fork server import these modules, so that processes spawned later start with them loaded.

    If a module cannot be imported, that is reported on stderr, and processes start without it.

    Blocks: never. Source: `multiprocessing.set_forkserver_preload`.
    """
    for module in modules:
        if not isinstance(module, str):
            raise UsageError(f"preload takes names of modules, as strings; found {brief(module)}")
    # Python ignores other entries, too.
    folders = [folder for folder in sys.path if isinstance(folder, str)]
    context.current().root.tell(process_root.Preload(list(modules), folders))


def _label(f: Callable[..., object]) -> str:
    function = getattr(f, "func", f)  # for a functools.partial
    code = getattr(function, "__code__", None)
    where = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"{name_of(f)}{where}"
