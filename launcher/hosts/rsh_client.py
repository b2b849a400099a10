"""The command that mpiexec runs in place of ssh: `rsh_client.py [options] HOST COMMAND...`.

cmpirun's agent on that host runs the command, which is one of MPI's daemons, and this program exits with
its exit code. A single connection to each host is enough, however often MPI starts something there.
"""

from __future__ import annotations

import os
import select
import sys


def main() -> int:
    """Have the command run; returns its exit code."""
    sys.path.append(os.path.abspath(__file__).rsplit("/", 4)[0])
    from cmpi._core.protocol import command_launcher
    from cmpi._core.protocol.launcher_agent import SHELL
    from cmpi._runtime import batch_end, environment
    from cmpi._transport import control_socket

    batch_end.leave_sigterm_to_cmpirun()
    arguments = sys.argv[1:]
    while arguments and arguments[0].startswith("-"):
        del arguments[0]  # such as -x, which Hydra gives to ssh
    host, *command = arguments
    stream = control_socket.connect_in(os.environ[environment.JOB], "rsh", command_launcher.TO_RSH_CLIENT)
    stream.send(command_launcher.RunThere(host.rpartition("@")[2], [SHELL, "-c", " ".join(command)]))
    while not stream.closed:
        select.select([stream], [], [])
        for frame in stream.receive():
            return int(frame.code)
    return 255


if __name__ == "__main__":
    sys.exit(main())
