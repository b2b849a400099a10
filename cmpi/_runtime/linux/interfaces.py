"""The network interfaces of this host."""

from __future__ import annotations

import fcntl
import socket
import struct

_FLAGS, _ADDRESS = 0x8913, 0x8915  # SIOCGIFFLAGS, SIOCGIFADDR: netdevice(7)
_UP, _LOOPBACK = 0x1, 0x8


def addresses() -> list[str]:
    """The IPv4 address of each interface that is up, except the loopback one, as "eth0=10.0.0.2"."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _FLAGS, request), 16)
                if flags & _UP and not flags & _LOOPBACK:
                    address = fcntl.ioctl(sock, _ADDRESS, request)[20:24]
                    found.append(f"{name}={socket.inet_ntoa(address)}")
            except OSError:
                continue  # it has no such address, or has just gone
    return found
