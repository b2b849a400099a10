"""What a monitor says to the MPI launcher in its process's name.

MPI_Comm_spawn returns in the root when a process of the new world connects to the port that it
published. In cmpi no process does that itself: its MPI would then be tied to the root's, it would
see a parent that plain `mpiexec` does not give it, and a program that never starts MPI would
block the root for ever. So the monitor takes the port out of the environment before the process
can see it, and the root has its usher connect there instead.

Sources: Open MPI's `ompi/dpm` (OMPI_PARENT_PORT) and PMI-1's wire protocol as MPICH's Hydra and
its simple PMI client speak it (PMI_FD, PMI_SPAWNED, PARENT_ROOT_PORT_NAME).
"""

from __future__ import annotations

import os
import select

from cmpi._transport.pmi_relay import PmiRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

ANSWER_S = 30.0  # a launcher that does not answer ends the job; on a busy machine it may take a while


def rank_of(environment: Mapping[str, str]) -> int:
    """The rank of the process with this environment in its world."""
    for name in ("PMIX_RANK", "PMI_RANK"):
        if name in environment:
            return int(environment[name])
    return 0


def published_port(environment: Mapping[str, str]) -> str:
    """The port that completes its spawn, if the launcher tells without being asked: Open MPI's does."""
    return environment.get("OMPI_PARENT_PORT", "")


class Pmi:
    """The launcher's side of one process, seen from its monitor."""

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
        """Whether the launcher does not bear every death: that of Open MPI 5.0.11, PMIx's server in it.

        It releases an object twice where a process dies between its request to be connected and the
        answer (`ptl_base_connection_hdlr.c`, "PMIX_ERR_UNREACH"). And when one of a world has ended, by
        its stub's exit, it closes the connections of the others as if they were gone, with their events
        still armed. Some spawns later it crashes, or fails a process in MPI_Init, or lets it hang there.
        """
        return self._fd < 0

    def take_port(self) -> str:
        """The port that completes the spawn; the process will not know that it was spawned.

        Blocks: for the answer of the launcher, at most `ANSWER_S`.
        """
        if self._fd < 0:
            return self._environment.pop("OMPI_PARENT_PORT", "")
        if self._environment.pop("PMI_SPAWNED", "0") != "1":
            return ""
        self._ask("cmd=init pmi_version=1 pmi_subversion=1\n")
        kvs = self._field(self._ask("cmd=get_my_kvsname\n"), "kvsname")
        return self._field(self._ask(f"cmd=get kvsname={kvs} key=PARENT_ROOT_PORT_NAME\n"), "value")

    def finalize(self, killed: bool, instead: bool = False) -> None:
        """Leave in order, whatever the process did: Hydra ends the job of one that just vanishes.

        A second leave after the process's own is ignored there. One that was `killed` may have
        been so in the midst of a request, and Hydra's proxy ends, and with it the job, when it has
        an answer and nobody to give it to. So we ask, before we leave, for a name that nobody has
        published: requests are answered in their order. The stub does so `instead` of a monitor that
        was killed, perhaps between that question and its answer, and asks something else: else it took
        the answer to the monitor's question for its own.
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
                pass  # the launcher has closed its end: it was told already
            self._fd = -1

    def _ask(self, command: str, expected: str = "cmd=") -> str:
        """The answer that begins as expected; others before it are for nobody any more."""
        os.write(self._fd, command.encode())
        answer = b""
        while not (answer.endswith(b"\n") and expected.encode() in answer):
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if not poll.poll(ANSWER_S * 1000):
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
