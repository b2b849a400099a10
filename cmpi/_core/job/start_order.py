"""Builds the order that tells a monitor what to start."""

from __future__ import annotations

from cmpi._core.protocol import monitor_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.process_record import Process
    from cmpi._core.protocol import launcher_root


def start_order(
    job: launcher_root.LaunchJob, place: launcher_root.HostIs | None, process: Process, defaults: list[str]
) -> monitor_root.StartProcess:
    """Return the order for a process.

    Args:
        job: The order of the cmpirun that started its program.
        place: How the process's host differs, if it does.
        process: The process.
        defaults: Settings for its environment, unless that already has them.
    """
    argv, settings, cwd = job.argv, job.settings, job.cwd
    if place is not None:
        argv, cwd = place.argv or argv, place.cwd[0] if place.cwd else cwd
    if not process.is_rank:  # a closure: its monitor knows where our program is
        argv, settings = process.interpreter.argv, process.interpreter.settings
    feed = process.is_rank and process.rank == 0
    return monitor_root.StartProcess(
        pid=process.pid, argv=argv, settings=settings, cwd=cwd, stdin=feed, defaults=defaults
    )
