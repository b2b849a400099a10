"""The Mandelbrot set, drawn band by band by a pool of processes.

    cmpirun python mandelbrot.py [WIDTH] [FILE]

Some bands take longer than others, so each worker gets the next band when it has finished its last.
"""

import struct
import sys
import zlib

import numpy as np

import cmpi

ITERATIONS = 200


def band(width: int, top: int, rows: int, height: int) -> np.ndarray:
    """Rows of the picture: how soon each point escapes, 0 to 255."""
    y, x = np.mgrid[top : top + rows, 0:width]
    c = (x / width * 3.2 - 2.2) + 1j * (y / height * 2.4 - 1.2)
    z = np.zeros_like(c)
    escaped = np.full(c.shape, ITERATIONS)
    for i in range(ITERATIONS):
        inside = np.abs(z) <= 2
        escaped[~inside & (escaped == ITERATIONS)] = i
        z[inside] = z[inside] ** 2 + c[inside]
    return (255 * np.sqrt(1 - escaped / ITERATIONS)).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A grey picture as a PNG file."""
    height, width = picture.shape
    lines = b"".join(b"\0" + row.tobytes() for row in picture)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(lines),
        b"IEND": b"",
    }
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks.items():
        parts.append(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )
    return b"".join(parts)


if __name__ == "__main__":
    cmpi.init()
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    path = sys.argv[2] if len(sys.argv) > 2 else "mandelbrot.png"
    height, rows = width * 3 // 4, 8
    tops = range(0, height, rows)
    with cmpi.ProcessPool() as pool:
        bands = pool.map(
            lambda top: band(width, top, min(rows, height - top), height), tops, progress="bands"
        )
        picture = np.concatenate(list(bands))
    with open(path, "wb") as file:
        file.write(png(picture))
    print(f"{path}: {width} x {height}, {np.mean(picture == 0):.0%} of it inside")
