"""`run`: a function as a job of its own, from a script that is not part of one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from cmpi._runtime import programs
from cmpi._runtime.process import context
from cmpi._transport import pickling, scripts
from cmpi.errors import LaunchError, UsageError
from cmpi.processes import call, command_line, results

_RANK = "cmpi.processes.run:rank"


def run(
    f: Callable[..., Any],
    *args: Any,
    n: int | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Run `f(*args)` under cmpirun, from any script, and return what it returns.

    Args:
        f: A function; it, what it captures and its arguments travel by value.
        args: Its arguments.
        n: Number of ranks that run it, as one MPI world. None: one process.
        kwargs: Its keyword arguments.
        options: Options of cmpirun: `cpus=4` is `--cpus 4`, `verbose=True` is `--verbose`, and
            `mpi_args="..."` is `--mpi-args "..."`; a list gives an option several times. `output` is
            "plain" if not given.

    Returns:
        The value; with `n`, the list of the n values, by rank.

    Raises:
        Exception: What f raised, with the rank's traceback as its cause; of several, the first.
        LaunchError: The job failed in another way; what cmpirun says is on stderr.
        UsageError: This process is part of a job already: use `spawn` or `spawn_group`.
        NotPicklable: Something in f or its arguments cannot travel.

    What the job prints appears where this script prints. The function and its values go through files in a
    temporary folder: for a job on several hosts, have TMPDIR name a folder that they share.

    Blocks: until the job has ended. Source: `torch.distributed.launcher.elastic_launch`.
    """
    if context.in_job():
        raise UsageError(
            "run() starts a job of its own, and this process is part of one. Use spawn() or spawn_group(), "
            "whose results cmpi.result() gives."
        )
    if n is not None and (not isinstance(n, int) or n < 1):
        raise UsageError(f"a job has 1 rank or more; found n={n!r}")
    scripts.name_own()
    message = call.Call(f, args, kwargs, first=None, do="run").pickled()
    with tempfile.TemporaryDirectory(prefix="cmpi-run-") as folder:
        _write(f"{folder}/call", (context.surroundings(), _parts(message)))
        program = [sys.executable, *programs.isolated(_RANK), folder]
        command = [*command_line.cmpirun({"n": n, "output": "plain"} | options), "--"]
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        code = subprocess.run([*command, *program], check=False).returncode
        return _outcome(folder, n, code)


def _parts(message: pickling.Message) -> tuple[bytes, list[bytes]]:
    if isinstance(message, bytes):
        return message, []
    return message.body, [bytes(buffer) for buffer in message.buffers]


def _loads(parts: tuple[bytes, list[bytes]]) -> Any:
    return pickling.loads(parts[0], [bytearray(buffer) for buffer in parts[1]])


def _write(path: str, value: object) -> None:
    """Whole or not at all."""
    with open(f"{path}.new", "wb") as file:
        pickle.dump(value, file, protocol=5)
    os.rename(f"{path}.new", path)


def _read(path: str) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


def _outcome(folder: str, n: int | None, code: int) -> Any:
    paths = [f"{folder}/{rank}" for rank in range(n or 1)]
    there = sorted(
        (path for path in paths if os.path.exists(path)), key=lambda path: os.stat(path).st_mtime_ns
    )
    outcomes = {path: _loads(_read(path)) for path in there}
    for outcome in outcomes.values():
        if not outcome[0]:
            results.unpacked(outcome)  # which raises
    if code == 2 and not there:
        raise UsageError("cmpirun does not know these options; what it says is on stderr")
    if code != 0 or len(there) < len(paths):
        raise LaunchError(
            f"the job failed: cmpirun has ended with exit code {code}; its report is on stderr"
        )
    values = [results.unpacked(outcomes[path]) for path in paths]
    return values[0] if n is None else values


def rank() -> int:
    """The life of a rank of such a job."""
    folder = sys.argv[1]
    surroundings, parts = _read(f"{folder}/call")
    node = context.join(None)
    context.take_up_script(surroundings)
    number = [pid.value for pid in node.world].index(node.pid.value)
    try:
        f, args, kwargs, _ = _loads(parts)
        outcome: results.Outcome = True, call.make(f, *args, **kwargs), ""
        message = pickling.dumps(outcome)
    except SystemExit:
        raise
    except BaseException as error:
        message = pickling.dumps(results.raised(error, traceback.format_exc()))
        _write(f"{folder}/{number}", _parts(message))
        return 1
    _write(f"{folder}/{number}", _parts(message))
    return 0
