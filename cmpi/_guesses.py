"""The message for `cmpi.X` if cmpi has no X: it suggests the right name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What to use, and the names under which people look for it.
_MEANT = {
    "`from mpi4py import MPI`, then MPI.COMM_WORLD.{name}(...): collective operations are MPI's, in the "
    "ranks of `cmpirun -n N` and in the processes of a cmpi.spawn_group": (
        "gather scatter bcast broadcast reduce allreduce allgather alltoall barrier scan "
        "Gather Scatter Bcast Reduce Allreduce Allgather Alltoall Barrier all_reduce all_gather"
    ),
    "cmpi.world().index(cmpi.pid()), or MPI.COMM_WORLD.rank": "rank get_rank Get_rank local_rank",
    "len(cmpi.world()), or MPI.COMM_WORLD.size": "size world_size get_world_size Get_size",
    "`from mpi4py import MPI`, which works under cmpirun as under mpiexec": "MPI COMM_WORLD comm",
    "cmpi.Sender(pid).send(value)": "send isend put publish",
    "cmpi.Receiver(pid).recv()": "recv receive irecv",
    "cmpi.Sender(pid) in one process and cmpi.Receiver(pid) in the other": "Queue Pipe Channel queue",
    "cmpi.spawn(f, *args), which calls f(parent, *args) in a new process": (
        "Process fork start remote actor Actor launch execute Thread"
    ),
    "cmpi.ProcessPool(n), an executor: pool.submit(f, x).result(), pool.map(f, xs)": (
        "Pool map starmap imap apply apply_async submit Executor ProcessPoolExecutor ThreadPool parallel"
    ),
    "cmpi.spawn(f, *args, result=True), and cmpi.result(pid) for the value": "get Future future fetch",
    "cmpi.wait(pid)": "join waitpid wait_for wait_all",
    "cmpi.kill(pid)": "terminate stop cancel abort",
    "cmpi.pid()": "self getpid current_process get_pid me",
    "cmpi.parent()": "getppid parent_process get_parent",
    "nothing: a process leaves the job when it ends": "finalize Finalize shutdown close quit exit",
    "cmpi.init()": "Init initialize init_process_group setup",
    "one process that holds the value, and messages to it: processes share no memory": (
        "Lock RLock Event Semaphore Condition Value Array Manager shared_memory"
    ),
    "cmpi.register(name) and cmpi.whereis(name)": "lookup get_actor registered",
    "cmpi.supervise([cmpi.Child(...)])": "Supervisor supervisor restart",
}
_GUESSES = {name: words for words, names in _MEANT.items() for name in names.split()}


def answer(name: str, names: Iterable[str]) -> str:
    """Return the message for a name that is not among the public `names`."""
    text = f"module 'cmpi' has no attribute {name!r}"
    if name.startswith("_"):
        return text
    meant = _GUESSES.get(name)
    if meant is not None:
        return f"{text}. Use {meant.format(name=name)}"
    from difflib import get_close_matches

    close = get_close_matches(name, names, 1, 0.75)
    return f"{text}. Did you mean cmpi.{close[0]}?" if close else text
