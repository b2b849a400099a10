"""`run`: runs a function as a job of its own, from a script that is not part of a job."""

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
from cmpi._runtime.linux.own_file import open_own
from cmpi._runtime.process import context
from cmpi._transport import pickling, scripts
from cmpi.errors import LaunchError, UsageError
from cmpi.processes import command_line, function_call, results

_RANK = "cmpi.processes.run:rank"


def run(
    f: Callable[..., Any],
    *args: Any,
    n: int | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Run `f(*args)` in a new job, from any script, and return its value.

    Args:
        f: A function; it is sent by value, with what it captures and its arguments.
        args: Its arguments.
        n: The number of ranks that run it, as one MPI world. None: one process.
        kwargs: Its keyword arguments.
        options: Options of cmpirun: `cpus=4` is `--cpus 4`, `verbose=True` is `--verbose`, and
            `mpi_args="..."` is `--mpi-args "..."`; a list repeats an option. `output` defaults to "plain".

    Returns:
        The value; with `n`, a list of the n values, by rank.

    Raises:
        Exception: What f raised, with the rank's traceback as its cause; if several ranks raised, the
            first.
        LaunchError: The job failed in another way; cmpirun's message is on stderr.
        UsageError: This process is already part of a job: use `spawn` or `spawn_group`.
        NotPicklable: Something in f or its arguments cannot be sent.

    The job's output appears where this script prints. The function and its values are passed through files
    in a temporary folder: for a job on several hosts, set TMPDIR to a folder that all hosts share.

    Blocks: until the job has ended. Source: `torch.distributed.launcher.elastic_launch`.
    """
    if context.in_job():
        raise UsageError(
            "run() starts a new job, but this process is already part of one. Use spawn() or spawn_group() "
            "with result=True, and cmpi.result()."
        )
    if n is not None and (not isinstance(n, int) or n < 1):
        raise UsageError(f"a job needs 1 rank or more; found n={n!r}")
    scripts.name_own()
    message = function_call.FunctionCall(f, args, kwargs, first=None, do="run").pickled()
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
    """Write a file atomically."""
    with open(f"{path}.new", "wb") as file:
        pickle.dump(value, file, protocol=5)
    os.rename(f"{path}.new", path)


def _read(path: str) -> Any:
    with open_own(path) as file:
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
        raise UsageError("cmpirun refused the options; its message is on stderr")
    if code != 0 or len(there) < len(paths):
        raise LaunchError(f"the job failed: cmpirun ended with exit code {code}; its report is on stderr")
    values = [results.unpacked(outcomes[path]) for path in paths]
    return values[0] if n is None else values


def rank() -> int:
    """The main function of each rank of such a job."""
    folder = sys.argv[1]
    surroundings, parts = _read(f"{folder}/call")
    node = context.join(None)
    context.take_up_script(surroundings)
    number = [pid.value for pid in node.world].index(node.pid.value)
    try:
        f, args, kwargs, _ = _loads(parts)
        outcome: results.Outcome = True, function_call.make(f, *args, **kwargs), ""
        message = pickling.dumps(outcome)
    except SystemExit:
        raise
    except BaseException as error:
        message = pickling.dumps(results.raised(error, traceback.format_exc()))
        _write(f"{folder}/{number}", _parts(message))
        return 1
    _write(f"{folder}/{number}", _parts(message))
    return 0
