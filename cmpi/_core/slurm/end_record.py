"""What a batch script writes down at its end, in JOB.code: its exit code, and how much it wrote. Pure.

The sizes are the end mark of the output: a shared file system may show the files' last bytes seconds after
the node has written them, and nobody else can tell when they are complete.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen

NO_FILES = 53  # slurmstepd's signal number for: folder or output files could not be opened (exit code 181)
WITHIN_S = (
    60.0  # a shared file system has shown everything: NFS keeps what it knows of a folder for so long
)
KILLED_WITHIN_S = 3.0  # for the record of a script that was perhaps killed before it could write one


@frozen
class EndRecord:
    """How a script ended. `sizes` are the bytes in its output files, by descriptor; {}: not known."""

    code: int
    sizes: dict[int, int] = {}
    signalled: bool = False  # Slurm had sent SIGTERM: it may start the job again


def shell(stem: str) -> list[str]:
    """The lines of a batch script that write the record, whole or not at all."""
    return [
        f"sizes=$(stat -Lc %s {stem}.out {stem}.err 2>/dev/null)",
        f"echo $code ${{signalled:-no}} $sizes > {stem}.code.new",
        f"mv {stem}.code.new {stem}.code",
    ]


def parse(text: str) -> EndRecord | None:
    """What `shell` wrote; None if there is nothing readable.

    >>> parse("3 no 120 0 \\n")
    EndRecord(code=3, sizes={1: 120, 2: 0}, signalled=False)
    """
    words = text.split()
    try:
        code, *sizes = (int(word) for word in (*words[:1], *words[2:]))
    except ValueError:
        return None
    return EndRecord(code, dict(zip((1, 2), sizes)) if len(sizes) == 2 else {}, words[1:2] == ["yes"])


def complete(record: EndRecord, read: dict[int, int]) -> bool:
    """Whether what was read of the output files is all that the script had written."""
    return all(read[fd] >= size for fd, size in record.sizes.items())
