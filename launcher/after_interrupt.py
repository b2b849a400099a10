"""Finds out what Ctrl-C means while cmpirun shows something that could go on without it."""

from __future__ import annotations

import os
import sys


def choice(on_interrupt: str, title: str, name: str) -> str:
    """Return what to do with the batch job: "cancel" it, "leave" it (and say so), or "": go on waiting.

    Args:
        on_interrupt: The value of --on-interrupt.
        title: What cmpirun shows, in words.
        name: Its name, for `cmpirun --attach`.

    Blocks: for the user's answer, if there is a terminal to ask.
    """
    what = on_interrupt
    if what == "ask":
        what = _ask(title) if os.isatty(0) else "leave"
    if what == "leave":
        print(f"cmpirun: {title} goes on; to follow it again: cmpirun --attach {name}", file=sys.stderr)
    return what


def _ask(title: str) -> str:
    question = f"[c]ancel {title}, [l]eave it running, or go on?"
    print(f"\ncmpirun: {question} ", end="", file=sys.stderr, flush=True)
    try:
        return {"c": "cancel", "l": "leave"}.get(input().strip()[:1].lower(), "")
    except (EOFError, KeyboardInterrupt):
        return "leave"
