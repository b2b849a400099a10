"""Threads whose failure ends the process, because the rest of it would wait for ever."""

from __future__ import annotations

import os
import sys
import threading

from cmpi.identifiers import RAISED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def vital_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """A thread that ends the process if it fails; not started yet."""

    def run_or_end() -> None:
        try:
            run()
        except Exception:
            print("cmpi: InternalError: please report this", file=sys.stderr)
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(RAISED)

    return threading.Thread(target=run_or_end, name=name, daemon=True)
