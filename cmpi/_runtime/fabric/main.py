"""The program of a fabric agent: `main.py HOST ADDRESS PATH`, one rank on each host.

    HOST: what the job calls this host.  ADDRESS: where other hosts reach it.  PATH: where to find modules.

It runs as `python -I main.py`. Nothing of the user's runs here, so nothing of the user's can end the
agents' world.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without the enums of `signal`

FORM_S = 60  # for the world to form, after which the agent ends
AWAKE_S = (
    1e-3  # with cores enough. Where others need them, an agent that looked without a pause had to wait
)
# for its next turn when something came.
MANY_CORES = 4


def main() -> int:
    """Run the agent; returns its exit code."""
    sys.path.insert(0, __file__.rsplit("/", 4)[0])  # this cmpi, even if others are installed
    from cmpi._runtime import batch_end, environment
    from cmpi._runtime.own_output import write_there

    host, address, path = sys.argv[1:4]
    batch_end.leave_sigterm_to_cmpirun()
    write_there()
    sys.path[1:] = path.split(os.pathsep)
    signal.alarm(FORM_S)  # its default action needs no running thread
    from cmpi._core.fabric.wakefulness import Wakefulness
    from cmpi._core.protocol import helper_root
    from cmpi._runtime.fabric.agent import FabricAgent, Link
    from cmpi._runtime.fabric.bell import Bell
    from cmpi._transport import control_socket, mpi

    mpi.initialize()
    bell = Bell()
    rank, others = mpi.tell_all(f"{host}\n{address}\n{bell.port}")
    agents = [(name, at, int(port)) for name, at, port in (it.split("\n") for it in others)]
    bell.know(rank, agents)
    links = [Link(agents[peer][0], it, first=rank < peer) for peer, it in mpi.transports().items()]
    root = control_socket.to_root(os.environ, helper_root.TO_FABRIC_AGENT)
    root.send(helper_root.HelperUp(helper_root.FABRIC_AGENT, host, ""))
    signal.alarm(0)
    folder = os.environ[environment.JOB]
    few = len(os.sched_getaffinity(0)) < MANY_CORES
    wakefulness = Wakefulness(0.0 if few else AWAKE_S)
    try:
        FabricAgent(folder, f"{folder}/{helper_root.FABRIC_SOCKET}", links, root, bell, wakefulness).run()
    except mpi.TransportBroken:
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # MPI_Finalize would wait for agents that may be gone; there is nothing to finish
