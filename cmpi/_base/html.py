"""Tables for notebooks. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def table(caption: str, values: Mapping[str, object]) -> str:
    """A table with one row of values, each below its name.

    >>> table("Job", {"name": "<lab>"})
    '<table><caption>Job</caption><tr><th>name</th></tr><tr><td>&lt;lab&gt;</td></tr></table>'
    """
    from html import escape  # only in a notebook

    head = "".join(f"<th>{escape(name)}</th>" for name in values)
    cells = "".join(f"<td>{escape(str(value))}</td>" for value in values.values())
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr><tr>{cells}</tr></table>"
