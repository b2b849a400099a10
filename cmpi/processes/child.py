"""`Child`: a supervisor's description of one child."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cmpi._core.supervisor import RESTARTS
from cmpi.errors import UsageError
from cmpi.identifiers import Resources


class Child:
    """One child of a supervisor.

    Args:
        f: The function that it runs, as for `spawn`; the first argument is the supervisor's Pid.
        args: Further arguments.
        name: A name by which `whereis` finds the child's present process; "" for none.
        restart: "permanent": always restart it; "transient": only if it ended abnormally; "temporary":
            never.
        resources: The resources that it needs, as for `spawn`.
        shutdown: How many seconds it may take to end after SIGTERM.

    Raises:
        UsageError: An argument has a wrong value.

    Source: Erlang/OTP `supervisor`, "child specification".
    """

    def __init__(
        self,
        f: Callable[..., object],
        *args: Any,
        name: str = "",
        restart: str = "permanent",
        resources: Resources | None = None,
        shutdown: float = 5.0,
    ) -> None:
        if restart not in RESTARTS:
            raise UsageError(f"restart is one of {', '.join(RESTARTS)}; found {restart!r}")
        self.f, self.args, self.name = f, args, name
        self.restart, self.resources, self.shutdown = restart, resources, shutdown

    @property
    def label(self) -> str:
        """Its name, or the name of its function."""
        return self.name or getattr(self.f, "__qualname__", repr(self.f))
