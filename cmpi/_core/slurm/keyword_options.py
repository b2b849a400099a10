"""The options of a job in Slurm that Python functions accept, as options of cmpirun. Pure."""

from __future__ import annotations

from cmpi.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OPTIONS = {
    "nodes": "nodes",
    "tasks": "n",
    "time": "time",
    "partition": "partition",
    "account": "account",
    "mem_per_cpu": "mem_per_cpu",
    "gpus_per_node": "gpus_per_node",
    "constraint": "constraint",
    "name": "job_name",
    "after": "after",
    "setup": "setup",
    "slurm_args": "slurm_args",
    "requeue_before": "requeue_before",
}


def unknown(options: Mapping[str, Any], *refused: str) -> str:
    """The complaint about an option that is not accepted; "" if all are.

    >>> unknown({"nodes": 2, "memory": "1G"})[:41]
    "unknown option 'memory'; accepted: nodes,"
    """
    accepted = [name for name in OPTIONS if name not in refused]
    found = next((name for name in options if name not in accepted), None)
    return "" if found is None else f"unknown option {found!r}; accepted: {', '.join(accepted)}"


def for_cmpirun(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of cmpirun that have the same meaning.

    Raises:
        UsageError: `nodes` or `tasks` is not a number above 0.

    >>> for_cmpirun({"nodes": 2, "time": "1:00:00", "constraint": "", "after": [7, "8"]})
    {'slurm': True, 'nodes': 2, 'n': 1, 'time': '1:00:00', 'after': '7,8'}
    """
    numbers = {name: options.get(name, 1) for name in ("nodes", "tasks")}
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise UsageError(f"nodes and tasks must be at least 1; found {name}={number!r}")
    translated = {"slurm": True} | {OPTIONS[name]: number for name, number in numbers.items()}
    rest = {name: value for name, value in options.items() if value and name not in numbers}
    if "after" in rest:
        rest["after"] = _numbers(rest["after"])
    if "setup" in rest:
        rest["setup"] = [rest["setup"]] if isinstance(rest["setup"], str) else list(rest["setup"])
    return translated | {OPTIONS[name]: value for name, value in rest.items()}


def _numbers(after: Any) -> str:
    """Slurm's numbers of one or several jobs, which are given as jobs or as numbers."""
    jobs = [after] if isinstance(after, (str, int)) or hasattr(after, "id") else after
    return ",".join(str(getattr(job, "id", job)) for job in jobs)
