"""Frames as a process would send them, for tests that care about some of their fields."""

from cmpi._core.protocol import process_root


def spawn_frame(request=1, cpu_units=0, memory_bytes=0, **changes):
    fields = {"label": "f", "closure": b"f", "context": b"ctx"} | changes
    return process_root.Spawn(request=request, cpu_units=cpu_units, memory_bytes=memory_bytes, **fields)
