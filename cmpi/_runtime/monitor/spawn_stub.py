"""The program that MPI_Comm_spawn starts: `python -I -S spawn_stub.py START [SOCKET]`. Where there is a C
compiler, spawn_stub.c does the same in a tenth of the memory, and starts this as `spawn_stub.py START
[killed]` if the process needs a monitor here.

It hands its environment and descriptors to the fork server that listens at SOCKET. It then waits until the
process has ended, because MPI's launcher watches the stub. Without SOCKET, or if the fork server has
ended, it becomes the monitor itself. Before that it imports little beyond built-in modules, because each
import costs time in every spawn.
"""

import _socket
import os
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal


KILLED = "killed"  # instead of SOCKET: the compiled stub's monitor was killed


def hand_over(start: str, server: str) -> bytes:
    """Give everything to the fork server and wait for the end.

    The process that listens there gets nothing before it has proved that it knows the job's secret.

    Returns the last byte from there: b"f" if the monitor has left MPI's launcher in order, b"k" if it was
    killed before, b"" if there is no fork server.

    The stub leaves the launcher's SIGTERM to the monitor: the process has to end first (`Pmi.fragile`), and
    Open MPI's launcher waits 0.25 s for that.
    """
    from cmpi._runtime.batch_end import in_batch_job
    from cmpi._transport import job_secret
    from cmpi._transport.proof import prove
    from cmpi.errors import ProtocolError

    environment = b"\0".join(name + b"=" + value for name, value in posix.environ.items())
    fds = [0, 1, 2]
    if b"PMI_FD" in posix.environ:
        fds.append(int(posix.environ[b"PMI_FD"]))
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        secret = job_secret.read(server.rpartition("/")[0])
        sock.connect(server)
        prove(sock, secret.key, None)  # it may be importing something large
        secret.forget()
        head = b"%d %s %d\n" % (len(environment), start.encode(), posix.getpid())
        rights = b"".join(fd.to_bytes(4, "little") for fd in fds)
        sock.sendmsg([head], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        sock.sendall(environment)
        told = []

        def pass_on(number: int, frame: object) -> None:
            told.append(number)
            try:
                sock.shutdown(_socket.SHUT_WR)
            except OSError:
                pass  # all processes have closed it

        if not in_batch_job():
            signal.signal(signal.SIGTERM, pass_on)
        last = word = sock.recv(1)
        while word:
            last, word = word, sock.recv(1)
    except (OSError, ProtocolError):
        return b""
    finally:
        sock.close()
    return last or (b"k" if told else b"")


def main() -> int:
    """Run the stub; returns the exit code."""
    sys.path.append(__file__.rsplit("/", 4)[0])
    from cmpi._runtime.batch_end import leave_sigterm_to_cmpirun
    from cmpi._runtime.own_output import write_there

    leave_sigterm_to_cmpirun()
    write_there()
    start, *server = sys.argv[1:]
    from cmpi._runtime import environment
    from cmpi._runtime.linux import pid_files
    from cmpi._transport.mpi_rank import rank_of
    from cmpi._transport.pmi import published_port

    settings = {os.fsdecode(name): os.fsdecode(value) for name, value in posix.environ.items()}
    folder = settings[environment.JOB]
    pid_files.announce(folder, pid_files.start(int(start), rank_of(settings)), published_port(settings))
    last_word = b""
    if server:
        last_word = b"k" if server[0] == KILLED else hand_over(start, server[0])
    if last_word != b"f":
        from cmpi._runtime.monitor.monitor import Monitor

        monitor = Monitor(int(start))
        monitor.bury() if last_word else monitor.run()
    pid_files.withdraw(folder)
    return 0


if __name__ == "__main__":
    posix._exit(main())
