"""Frames between a process and the fabric agent of its host."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, frame, registry

# -- process -> fabric agent --------------------------------------------------------------


@frame
class CarryTo:
    """Carry this connection to a process on another host, which listens for it. Nothing follows before that
    process has spoken."""

    host: str
    pid: U32


TO_FABRIC_AGENT = registry({180: CarryTo})
