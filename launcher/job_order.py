"""Makes the order that cmpirun gives to the root: what to run, and how to show its output."""

from __future__ import annotations

import os

from cmpi._core.output.output import NORMAL, QUIET, VERBOSE
from cmpi._core.protocol import launcher_root
from cmpi.launcher import cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.config import LaunchConfig


def make(
    config: LaunchConfig,
    where: list[str],
    settings: list[str],
    here: str = "",
    hosts: bytes = b"",
    fabric: list[str] | None = None,
    *,
    begun: bool = False,
) -> launcher_root.LaunchJob:
    """Make the order for these options.

    Args:
        config: The options.
        where: The host of each rank; "": the root's.
        settings: "NAME=value" or "NAME", only for the environment of the ranks.
        here: The name of the root's own host, if there is more than one host.
        hosts: All hosts, encoded for the root.
        fabric: The hosts that get fabric agents.
        begun: Whether cmpirun has started the ranks.
    """
    detached = config.detach
    return launcher_root.LaunchJob(
        argv=config.argv,
        settings=[*settings, *_terminal_settings(config)],
        where=where,
        cwd=os.getcwd(),
        output=config.output,
        colour=cli.wants_colour(config.colour, os.isatty(1) and not detached),
        one_place=same_place(1, 2) and not detached,
        verbosity=VERBOSE if config.verbose else QUIET if config.quiet else NORMAL,
        output_dir=config.output_dir,
        cpu_units=config.cpu_units,
        memory_bytes=config.memory_bytes,
        rank_cpu_units=config.rank_cpu_units,
        shared_memory_bytes=config.shared_memory_bytes,
        enforce=config.enforce,
        check_deadlock=config.check_deadlock,
        here=here,
        hosts=hosts,
        deadline_s=_deadline_s(),
        report_mpi_waits_s=config.report_mpi_waits_s,
        grace_s=config.grace_s,
        host_timeout_s=config.host_timeout_s,
        strict=config.strict,
        standing=config.serve,
        keeper=config.keeper[0],
        detached=detached,
        inherited=list(os.environ),
        fabric=fabric or [],
        begun=begun,
    )


def stdin() -> int:
    """Our stdin, or /dev/null if stdin is closed or if reading it would take input from the shell."""
    try:
        if not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp():
            os.fstat(0)
            return 0
    except OSError:
        pass
    return os.open(os.devnull, os.O_RDONLY)


def _terminal_settings(config: LaunchConfig) -> list[str]:
    """Environment variables that tell programs about the terminal, since they write into pipes."""
    if config.detach:
        return [] if "PYTHONUNBUFFERED" in os.environ else ["PYTHONUNBUFFERED=1"]  # somebody may follow it
    if config.output not in ("human", "headings") or not os.isatty(1) or os.environ.get("TERM") == "dumb":
        return []
    from cmpi._core.output.human_form import TYPICAL_TITLE

    settings = {
        # Makes Python write at once, as to a terminal; else a print would be seen much later.
        "PYTHONUNBUFFERED": "1",
        # Makes rich (version 14 and later) draw bars and colours.
        "TTY_COMPATIBLE": "1",
        # The width that remains after a line's title.
        "COLUMNS": str(max(40, os.get_terminal_size(1).columns - TYPICAL_TITLE - 4)),
    }
    return [f"{name}={value}" for name, value in settings.items() if name not in os.environ]


def same_place(one: int, other: int) -> bool:
    """Whether two descriptors are of the same file or terminal."""
    try:
        a, b = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino, a.st_rdev) == (b.st_dev, b.st_ino, b.st_rdev)


def _deadline_s() -> float:
    """When Slurm will end the job that cmpirun runs in, in seconds since 1970; 0: never."""
    if "SLURM_JOB_ID" not in os.environ:
        return 0.0
    from cmpi.launcher.slurm import calls

    return calls.deadline_s()


def check_folder(folder: str) -> None:
    """Create the folder for output files, if requested; exits with a message if that is impossible."""
    if folder:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            cli.fail(f"cannot create --output-dir {folder}: {error.strerror}")
