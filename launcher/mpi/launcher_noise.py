"""Tells messages of MPI's launcher from output of processes, both of which come out of mpiexec. Pure.

Processes of the job write into pipes of their monitors. But processes that they start with MPI_Comm_spawn
themselves (as mpi4py.futures does) are started by the launcher, which mixes their output with its messages.
"""

from __future__ import annotations

import re

MOST_BLOCK_LINES = 60  # the most lines of a message; the longest seen had 27
MOST_PAUSES = 5  # within a message; a busy launcher was seen to make two
_RULE = re.compile(rb"-{60,}\s*|={60,}\s*")  # a line that begins or ends a message
_OF_LAUNCHER = re.compile(
    rb"prterun|prted\b|PRTE|PMI[xX]\b|PMIX|mpirun|mpiexec|MPI_ABORT was invoked|BAD TERMINATION"
)
_LINE = re.compile(
    rb"\[(mpiexec|proxy:[\d:]+)@"  # Hydra
    rb"|\[[^\]\s]+:\d+\] .*(PMI[xX]\b|PMIX|PRTE|prte)"  # PRRTE, with host and process id
    rb"|PMIX ERROR: |(prterun|mpiexec)( noticed|:)"
    rb"|\[warn\] "  # libevent
    rb"|(LAUNCHER JOB OBJECT NOT FOUND\s*)+$"  # PRRTE
    rb"|YOUR APPLICATION TERMINATED WITH THE EXIT STRING: "
    rb"|This typically refers to a problem with your application\.\s*$"
    rb"|Please see the FAQ page for debugging suggestions\s*$"
)
_MAY_BE = b"[-=pmYTPL\n\r"  # first bytes of all of these


class LauncherNoise:
    """Sorts the bytes from one of mpiexec's descriptors. Not thread-safe; never blocks."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of an incomplete line
        self._in_line = False  # the beginning of this line has already been passed on
        self._block: list[bytes] = []  # lines of a message, or of something that only begins like one
        self._to_come = 0  # the most lines still expected of a message whose beginning was recognised
        self._pauses = 0  # that it has made

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take more bytes; returns output of processes and messages. Empty data: decide about held
        bytes."""
        shown: list[bytes] = []
        noise: list[bytes] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._sort(line + b"\n", shown, noise)
        if not data:
            self._decide(shown, noise)
        held = not self._rest or self._block or self._to_come
        if not held and (self._in_line or not data or self._rest[0] not in _MAY_BE):
            keep = not self._in_line and _LINE.match(self._rest)
            (noise if keep else shown).append(self._rest)
            self._rest, self._in_line = b"", True
        return b"".join(shown), b"".join(noise)

    @property
    def undecided(self) -> bool:
        """Whether bytes are held that may be the beginning of a message.

        The launcher writes each message in one go. If nothing more has come for a while, they are not a
        message: then call `feed` with no data.
        """
        return bool(self._rest or self._block or self._to_come)

    def _sort(self, line: bytes, shown: list[bytes], noise: list[bytes]) -> None:
        if self._in_line:
            self._in_line = False
            shown.append(line)
        elif self._to_come:
            self._to_come = 0 if _RULE.fullmatch(line) else self._to_come - 1
            noise.append(line)
        elif self._block:
            if len(self._block) == 1 and _RULE.fullmatch(line):
                shown.append(self._block.pop())  # a lone rule; the next may begin a message
            self._block.append(line)
            if (len(self._block) > 1 and _RULE.fullmatch(line)) or len(self._block) >= MOST_BLOCK_LINES:
                self._close(shown, noise)
        elif _RULE.fullmatch(line):
            self._block = [line]
        else:
            (noise if _LINE.match(line) else shown).append(line)

    def _decide(self, shown: list[bytes], noise: list[bytes]) -> None:
        """Decide about held lines after a pause; a message of a busy launcher may still be incomplete."""
        lines = len(self._block)
        if self._to_come:
            self._pauses += 1
            if self._pauses == MOST_PAUSES:
                noise.append(self._rest)
                self._rest, self._to_come = b"", 0
        elif lines and self._close(shown, noise, rest=self._rest):
            self._to_come, self._pauses = MOST_BLOCK_LINES - lines, 1

    def _close(self, shown: list[bytes], noise: list[bytes], *, rest: bytes = b"") -> bool:
        """Pass on the lines of a block that has ended; True if they were a message of the launcher."""
        block, self._block = self._block, []
        of_launcher = any(map(_OF_LAUNCHER.search, [*block, rest]))
        (noise if of_launcher else shown).extend(block)
        return of_launcher
