"""The record that a batch script writes to JOB.code at its end: its exit code and the sizes of its output.
Pure.

A shared file system may show the last bytes of the output seconds after the node has written them. Only the
sizes tell when the output is complete.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen

NO_FILES = 53  # slurmstepd's signal number for: folder or output files could not be opened (exit code 181)
WITHIN_S = 60.0  # after this, a shared file system shows everything: NFS caches a folder for so long
KILLED_WITHIN_S = 3.0  # the same for a script that may have been killed before it wrote a record


@frozen
class EndRecord:
    """How a script ended. `sizes` are the bytes in its output files, by descriptor; {}: not known."""

    code: int
    sizes: dict[int, int] = {}
    signalled: bool = False  # Slurm had sent SIGTERM: it may start the job again


def shell(stem: str) -> list[str]:
    """The lines of a batch script that write the record atomically."""
    return [
        f"sizes=$(stat -Lc %s {stem}.out {stem}.err 2>/dev/null)",
        f"echo $code ${{signalled:-no}} $sizes > {stem}.code.new",
        f"mv {stem}.code.new {stem}.code",
    ]


def parse(text: str) -> EndRecord | None:
    """Parse what `shell` wrote; None if it is not readable.

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
    """Whether all that the script had written to the output files has been read."""
    return all(read[fd] >= size for fd, size in record.sizes.items())
