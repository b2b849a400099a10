"""Removes the files that MPI leaves behind when its processes die, and the job's own folders.

MPICH unlinks its shared-memory file when a process finalizes, so a killed process leaves it behind. UCX and
PMIx unlink theirs at once, unless the process is killed just then. Open MPI's files are in a folder of the
job (`launcher/mpi/mpiexec.py`).
"""

from __future__ import annotations

import os
import time

from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SHARED_MEMORY = "/dev/shm"
_PREFIXES = ("mpich_shm_", "ucx_shm_posix_", "open_mpi.")
_ALONE = "sm_segment."  # of an Open MPI process without a launcher; otherwise it is in the job's folder
REMOVE_S = 1.0
LOOK_AGAIN_S = 0.05  # a process of another job may have created its file and not yet mapped it


def clean_up(folders: Sequence[str]) -> None:
    """Remove the job's folders and cgroups, and MPI's leftovers on this host. Blocks: as
    `remove_folders`."""
    remove_folders(folders)
    remove_unmapped_segments()
    remove_topologies()
    remove_session_folders()


def unlink_own_segments(prefixes: tuple[str, ...] = _PREFIXES) -> None:
    """In a process whose MPI_Init has returned, unlink the files that it has mapped whose names begin so.

    By then every process that needs the file has mapped it, and the memory lives as long as it is mapped.
    MPICH's own unlink at the end finds nothing, which does no harm.
    """
    for path in _mapped(["self"], prefixes):
        try:
            os.unlink(path)
        except OSError:
            pass  # another rank of the world was faster


def remove_unmapped_segments(patience_s: float = 0.0) -> None:
    """Unlink this user's files of MPICH and UCX that no process has mapped: their owners are dead.

    Args:
        patience_s: How long to go on looking, in seconds: killed owners may not be gone yet, and an owner
            may be killed between creating its file and unlinking it.
    """
    end_s = clock.now_s() + patience_s
    while True:
        left = _unmapped()
        if left:
            time.sleep(LOOK_AGAIN_S)
            for path in left & _unmapped():
                try:
                    os.unlink(path)
                except OSError:
                    pass  # another cmpirun was faster
        if clock.now_s() >= end_s:
            return
        time.sleep(LOOK_AGAIN_S)


def remove_topologies() -> None:
    """Unlink this user's files in which Hydra describes the host, if no Hydra proxy runs. A proxy that is
    killed leaves its file in /tmp, under a name that it tells nobody."""
    mine = []
    for name in os.listdir("/tmp"):
        if name.startswith("hydra_hwloc_xmlfile_"):
            try:
                if os.lstat(f"/tmp/{name}").st_uid == os.geteuid():
                    mine.append(f"/tmp/{name}")
            except OSError:
                continue  # removed in the meantime
    if not mine or "hydra_pmi_proxy\n" in _texts(_all_processes(), "comm"):
        return
    for path in mine:
        try:
            os.unlink(path)
        except OSError:
            pass  # another cmpirun was faster


def remove_session_folders() -> None:
    """Remove empty session folders of Open MPI. A process that is in MPI_Init when its launcher is killed
    goes on as if it was started without one, and leaves such a folder; so does one that was really started
    so. Does nothing while another of those runs here with the same `TMPDIR`."""
    sessions = session_folder()
    top = _open_own(sessions)
    if top < 0:
        return
    try:
        if singleton_runs():
            return
        for _, folders, _, at in os.fwalk(".", topdown=False, dir_fd=top):
            for folder in folders:
                _rmdir(folder, at)
    finally:
        os.close(top)
    _rmdir(sessions)


def _open_own(folder: str) -> int:
    """Open a folder that belongs to this user; -1 if there is none. Symbolic links, which anybody may have
    made, are not followed."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    if os.fstat(fd).st_uid == os.geteuid():
        return fd
    os.close(fd)
    return -1


def _rmdir(folder: str, at: int | None = None) -> None:
    try:
        os.rmdir(folder, dir_fd=at)
    except OSError:
        pass  # not empty, or a link


def session_folder() -> str:
    """The folder of this user's Open MPI processes that were started without a launcher."""
    return f"{_temporary_folder(os.environ)}/ompi.{os.uname().nodename}.{os.geteuid()}"


def singleton_runs() -> bool:
    """Whether any other process on this host runs Open MPI without a launcher and has the same temporary
    folder. Blocks: while it reads /proc for all processes."""
    temporary, own = _temporary_folder(os.environ), str(os.getpid())
    return any(_is_singleton(process, temporary) for process in _all_processes() if process != own)


def _is_singleton(process: str, temporary: str) -> bool:
    """Whether this process runs Open MPI without a launcher, with its files in this temporary folder."""
    if not any("/libopen-pal.so" in text for text in _texts([process], "maps")):
        return False
    for text in _texts([process], "environ"):
        environment = dict(entry.partition("=")[::2] for entry in text.split("\0"))
        # Started by a launcher, or by a process that was, such as the fork server.
        if "PMIX_RANK" in environment or "OMPI_TOOL_NAME" in environment:
            return False
        if os.path.realpath(_temporary_folder(environment)) != os.path.realpath(temporary):
            return False
    return _polls(process)  # as it does from MPI_Init on; other processes have only imported MPI


def _temporary_folder(environment: Mapping[str, str]) -> str:
    """Where Open MPI puts session folders. Source: its `opal_tmp_directory`."""
    found = (environment.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return next((folder for folder in found if folder is not None), "/tmp")


def remove_folders(folders: Sequence[str]) -> None:
    """Remove the job's folders with their contents, and the cgroups that are named after them.

    Blocks: while ending processes still create files there, at most `REMOVE_S` for each folder.
    """
    import shutil

    from cmpi._runtime.linux import cgroup

    end_s = clock.now_s() + REMOVE_S
    for folder in folders:
        while os.path.exists(folder):
            shutil.rmtree(folder, ignore_errors=True)
            if clock.now_s() >= end_s:
                break
    cgroup.remove_all([f"{os.path.basename(folder)}." for folder in folders])


def _unmapped() -> set[str]:
    files = _segments()
    return files - _mapped(_all_processes()) if files else files


def _segments() -> set[str]:
    files = set()
    try:
        names = [name for name in os.listdir(SHARED_MEMORY) if name.startswith(_PREFIXES)]
    except OSError:
        return set()
    for name in names:
        path = f"{SHARED_MEMORY}/{name}"
        try:
            if os.lstat(path).st_uid == os.geteuid():
                files.add(path)
        except OSError:
            continue  # removed in the meantime
    return files


def unlink_segments_of_one_alone() -> None:
    """As `unlink_own_segments`, in a process that was started without a launcher and is a world of its
    own."""
    unlink_own_segments((*_PREFIXES, _ALONE))


def _mapped(processes: Iterable[str], prefixes: tuple[str, ...] = _PREFIXES) -> set[str]:
    found = set()
    for text in _texts(processes, "maps"):
        lines = text.splitlines() if any(prefix in text for prefix in prefixes) else []
        found |= {line.split()[5] for line in lines if any(f"/{prefix}" in line for prefix in prefixes)}
    return found


def _all_processes() -> Iterator[str]:
    return (name for name in os.listdir("/proc") if name.isdigit())


def _polls(process: str) -> bool:
    """Whether the process has a descriptor that waits for events."""
    import glob

    for link in glob.iglob(f"/proc/{process}/fd/*"):
        try:
            if "eventpoll" in os.readlink(link):
                return True
        except OSError:
            continue  # closed, or another user's
    return False


def _texts(processes: Iterable[str], name: str) -> Iterator[str]:
    """The contents of this file in /proc for these processes, as far as they can be read."""
    for process in processes:
        try:
            with open(f"/proc/{process}/{name}", errors="replace") as file:
                text = file.read()
        except OSError:
            continue  # ended, or another user's
        yield text
