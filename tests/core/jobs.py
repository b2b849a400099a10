"""A job's machine for tests, and events of its processes."""

from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import Order, Tell
from cmpi._core.protocol import process_root
from cmpi._core.scheduling.host_room import Host
from cmpi.identifiers import NO_PID
from tests.core.frames import spawn_frame

CORE, GIB = 65536, 1 << 30


def a_job(n=1, cpus=4, rank_cpus=0, **settings):
    j = JobMachine([Host("h", cpus * CORE, 8 * GIB)], **settings)
    j.launch(["prog"], ["h"] * n, rank_cpus)
    for rank in range(n):
        j.monitor_up(0, rank, 0.0)
    return j, j.starts[0]


def join(j, pid, memory="here", **kw):
    asks = {"asks": 0, "cpu_units": 0, "memory_bytes": 0} | kw
    return j.from_rank(
        pid, process_root.JoinJob(memory=memory, python="python", asks_memory=True, **asks), 0.0
    )


def spawn(j, pid, request=1, cpus=CORE, wait=1, host="", near=NO_PID, n=1, **how):
    asks = {"asks_cpus": True, "asks_memory": True} | how
    return j.from_rank(
        pid, spawn_frame(request, cpus, wait=bool(wait), host=host, near=near, n=n, **asks), 0.0
    )


def a_job_that_spawns(n=1):
    """The machine of a job, its rank, and the `n` processes that the rank is spawning by a fork server."""
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (spawned,) = told(spawn(j, a, n=n), process_root.Spawned)
    return j, a, spawned.pids


def of(kind, actions):
    return [a for a in actions if isinstance(a, kind)]


def told(actions, kind):
    return [a.frame for a in of(Tell, actions) if isinstance(a.frame, kind)]


def signals(actions):
    return [(o.pid, o.frame.signal) for o in of(Order, actions)]
