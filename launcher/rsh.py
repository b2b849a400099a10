"""What mpiexec takes for ssh: `rsh.py [options] HOST COMMAND...`. It has cmpirun's agent on that host run
the command, which is a daemon of MPI's, and ends as that does.

So there is one connection to a host, however often MPI wants something there.
"""

from __future__ import annotations

import os
import select
import sys


def main() -> int:
    """The whole of it."""
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from cmpi._core import tunnel_frames as tunnel
    from cmpi._transport import sockets

    arguments = sys.argv[1:]
    while arguments and arguments[0].startswith("-"):
        del arguments[0]  # such as -x, which Hydra gives to ssh
    host, *command = arguments
    stream = sockets.connect(os.environ["CMPI_JOB"] + "/rsh", bytes.fromhex(os.environ["CMPI_SECRET"]))
    stream.send(tunnel.RunThere(host.rpartition("@")[2], ["/bin/sh", "-c", " ".join(command)]))
    while not stream.closed:
        select.select([stream], [], [])
        for frame in stream.receive():
            if isinstance(frame, tunnel.Ended):
                return int(frame.code)
    return 255


if __name__ == "__main__":
    sys.exit(main())
