"""A cable that delays and loses packets: `slow_link.py INTERFACE INTERFACE SECONDS LOSS`. It does in Python
what `tc netem` does on kernels that have it.

A packet on a veth may be larger than a wire would allow, and its checksum may still be missing. A header
that is passed on with the packet describes both (packet(7), PACKET_VNET_HDR).
"""

import heapq
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, ETH_P_ALL = 263, 15, 3


def tap(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def main():
    one, other = map(tap, sys.argv[1:3])
    delay_s, loss = map(float, sys.argv[3:5])
    rng = random.Random(1)
    under_way, count = [], 0
    while True:
        left = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for sock in select.select([one, other], [], [], left)[0]:
            data, address = sock.recvfrom(1 << 17)
            if address[2] != socket.PACKET_OUTGOING and rng.random() >= loss:
                count += 1
                to = other if sock is one else one
                heapq.heappush(under_way, (time.monotonic() + delay_s, count, data, to))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, data, to = heapq.heappop(under_way)
            try:
                to.send(data)
            except OSError:
                pass  # the queue is full, or the cable was pulled: the packet is lost as well


if __name__ == "__main__":
    main()
