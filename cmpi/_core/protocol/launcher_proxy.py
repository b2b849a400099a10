"""Frames between cmpirun and its proxy, which runs another cmpirun on the host of a job, over the proxy's
stdin and stdout."""

from __future__ import annotations

from cmpi._core.protocol.launcher_agent import Beat, CommandEnded, Piece, Shut, Unpack, Unpacked
from cmpi._core.protocol.launcher_root import Interrupt
from cmpi._core.protocol.wire import U16, U32, frame, keyword_frame, registry

STDIN, STDOUT, STDERR = 0, 1, 2  # the channels of Piece and Shut
BEAT_S = 5.0  # without anything to send, TCP would not find out that the other machine is gone

# -- cmpirun -> proxy -------------------------------------------------------------------


@frame
class Prepare:
    """Look for the job and for the program, a file; either may be "": none."""

    job: str
    program: str


@keyword_frame
class RunCmpirun:
    """Run cmpirun. Its input then comes as Piece and Shut."""

    arguments: list[str]
    environment: list[str]  # "NAME=value"
    cwd: str
    terminals: list[str]  # "1", "2": the descriptors that are terminals
    one_place: bool  # 1 and 2 are the same
    columns: U16
    lines: U16
    keep: bool  # what was unpacked is needed until the job's end


@frame
class Resized:
    """The terminal has another size."""

    columns: U16
    lines: U16


# -- proxy -> cmpirun -------------------------------------------------------------------


@frame
class Prepared:
    """The answer to Prepare: "", or why it is impossible; whether the program is there; and the job's
    folder."""

    fault: str
    has_program: bool
    folder: str


@frame
class InputTaken:
    """This much input was passed on; the same amount may follow."""

    nbytes: U32


TO_PROXY = registry(
    {2: Interrupt, 104: Piece, 105: Shut, 111: Unpack, 149: Prepare, 150: RunCmpirun, 151: Resized}
)
TO_LAUNCHER = registry(
    {104: Piece, 107: CommandEnded, 108: Beat, 124: Unpacked, 152: Prepared, 153: InputTaken}
)
