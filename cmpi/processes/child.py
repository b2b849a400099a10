"""`Child`: what a supervisor is to run, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cmpi._core.supervisor import RESTARTS
from cmpi.errors import UsageError
from cmpi.identifiers import Resources


class Child:
    """One child of a supervisor.

    Args:
        f: What it runs, as for `spawn`: its first argument is the supervisor's Pid.
        args: Further arguments.
        name: By which `whereis` finds whichever process it is at the moment; "" for none.
        restart: "permanent": it is always started again; "transient": only if it ended other than
            normally; "temporary": never.
        resources: What it needs, as for `spawn`.
        shutdown: How many seconds it may take to end when it is asked to (SIGTERM).

    Raises:
        UsageError: One of them is none of these.

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
        """Its name, or else what it runs."""
        return self.name or getattr(self.f, "__qualname__", repr(self.f))
