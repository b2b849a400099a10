"""The output form for programs: a JSON object per line for each start, output and end of a process, and for
the end of the job."""

from __future__ import annotations

from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmpi._core.output.speaker import Speaker


def json_event(event: str, who: Speaker, time_s: float, **fields: object) -> bytes:
    """A line about one process. `time_s` is in seconds since 1970."""
    parent = None if who.parent is None else f"{who.parent:07x}"
    about = {
        "pid": None if who.pid == NO_PID else f"{who.pid:07x}",
        "parent": parent,
        "host": who.host,
        "rank": who.rank,
        "name": who.name,
    }
    return json_line({"event": event, "time": round(time_s, 6), **about, "name": who.name, **fields})


def json_line(event: Mapping[str, object]) -> bytes:
    """The line of an event."""
    import json  # imported here because only this form needs it, and the root must start quickly

    return json.dumps(event, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def json_data(data: bytes) -> dict[str, str]:
    """Output as text, or encoded if it is not UTF-8."""
    import base64

    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}
