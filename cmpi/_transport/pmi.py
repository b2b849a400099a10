"""The monitor's conversation with the MPI launcher, on behalf of its process.

MPI_Comm_spawn returns in the root when a process of the new world connects to the port that the root
published. In cmpi the new process does not do that: its MPI would then depend on the root's, it would see a
parent that plain `mpiexec` does not give it, and a program that never starts MPI would block the root for
ever. The monitor therefore removes the port from the environment before the process can see it, and the
spawn completer beside the root connects there instead.

Sources: Open MPI's `ompi/dpm` (OMPI_PARENT_PORT) and PMI-1's wire protocol as MPICH's Hydra and
its simple PMI client speak it (PMI_FD, PMI_SPAWNED, PARENT_ROOT_PORT_NAME).
"""

from __future__ import annotations

import os

from cmpi._transport import clock
from cmpi._transport.mpi_rank import rank_of
from cmpi._transport.pmi_relay import PmiRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

ANSWER_S = 30.0  # a launcher that does not answer within this ends the job; a busy machine may be slow


def published_port(environment: Mapping[str, str]) -> str:
    """The port that completes its spawn, if the launcher puts it into the environment, as Open MPI's
    does."""
    return environment.get("OMPI_PARENT_PORT", "")


class Pmi:
    """A monitor's connection to the launcher, for one process."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        self._fd = int(environment["PMI_FD"]) if "PMI_FD" in environment else -1
        self.relay = PmiRelay(environment, self._fd)

    @property
    def rank(self) -> int:
        """The rank of the process in its world."""
        return rank_of(self._environment)

    @property
    def fragile(self) -> bool:
        """Whether some deaths damage the launcher: those of Open MPI 5.0.11 do, in its PMIx server.

        The server releases an object twice if a process dies between its connection request and the
        answer (`ptl_base_connection_hdlr.c`, "PMIX_ERR_UNREACH"). And when one process of a world has
        ended, by its stub's exit, it closes the connections of the others as if they were gone, with their
        events still armed. Some spawns later it crashes, or a process fails or hangs in MPI_Init.
        """
        return self._fd < 0

    def take_port(self) -> str:
        """Return the port that completes the spawn; the process will not know that it was spawned.

        Blocks: for the launcher's answer, at most `ANSWER_S`.
        """
        if self._fd < 0:
            return self._environment.pop("OMPI_PARENT_PORT", "")
        if self._environment.pop("PMI_SPAWNED", "0") != "1":
            return ""
        self._ask("cmd=init pmi_version=1 pmi_subversion=1\n")
        kvs = self._field(self._ask("cmd=get_my_kvsname\n"), "kvsname")
        return self._field(self._ask(f"cmd=get kvsname={kvs} key=PARENT_ROOT_PORT_NAME\n"), "value")

    def finalize(self, killed: bool, instead: bool = False) -> None:
        """Finalize the process's PMI connection, whatever the process did: if a process vanishes without
        that, Hydra ends the job.

        Hydra ignores a second finalize after the process's own. A process that was `killed` may have been
        in the middle of a request; if Hydra's proxy then has an answer but no reader, it ends, and the job
        with it. Before finalizing we therefore look up a name that does not exist, and wait for the answer,
        since requests are answered in order. The stub does this `instead` of a killed monitor. It looks up
        another name, because the monitor may have been killed between its question and the answer, and the
        stub must not take that answer for its own.
        """
        self.relay.stop()
        if self._fd >= 0:
            try:
                if instead:
                    self._ask("cmd=unpublish_name service=cmpi-nobody\n", "cmd=unpublish_result")
                elif killed:
                    self._ask("cmd=lookup_name service=cmpi-nobody\n", "cmd=lookup_result")
                self._ask("cmd=finalize\n", "cmd=finalize_ack")
                os.close(self._fd)
            except OSError:
                pass  # the launcher has closed its end, because the process has already finalized
            self._fd = -1

    def _ask(self, command: str, expected: str = "cmd=") -> str:
        """Wait for the answer that begins as expected; drop earlier answers, whose reader is gone."""
        os.write(self._fd, command.encode())
        answer = b""
        while not (answer.endswith(b"\n") and expected.encode() in answer):
            if not clock.wait_readable(self._fd, clock.now_s() + ANSWER_S):
                raise OSError("the MPI launcher does not answer")
            piece = os.read(self._fd, 4096)
            if not piece:
                raise OSError("the MPI launcher has closed the connection")
            answer += piece
        return answer.decode("utf-8", "replace")

    @staticmethod
    def _field(answer: str, name: str) -> str:
        _, _, rest = answer.partition(f"{name}=")
        return rest.split(" " if name == "kvsname" else "\n", 1)[0].strip()
