"""Garbage makes every parser of frames raise ProtocolError and nothing else. CMPI_FUZZ sets how much is
tried."""

import os
import random
import time

import pytest

from cmpi._core.protocol import authentication, wire
from cmpi.errors import ProtocolError
from tests.core.frames import ALL

INPUTS = int(os.environ.get("CMPI_FUZZ", "20000"))
CLASSES = list(ALL.values())
EDGES = (0, 1, 127, 255, 0x7FFFFFFF, 0xFFFFFFFF)


def sample(choice, cls):
    """A frame of this class with extreme values in its fields."""
    values = []
    for letter in cls.LAYOUT:
        if letter in "BHIQ":
            bits = {"B": 8, "H": 16, "I": 32, "Q": 64}[letter]
            values.append(choice.choice(EDGES) & ((1 << bits) - 1))
        elif letter == "?":
            values.append(choice.choice((False, True)))
        elif letter == "d":
            values.append(choice.choice((0.0, -1.5, float("inf"))))
        elif letter == "s":
            values.append(choice.choice(("", "a", "é\udc80" * 20)))
        elif letter == "y":
            values.append(choice.randbytes(choice.choice((0, 1, 300))))
        elif letter == "S":
            values.append([choice.choice(("", "x" * 9)) for _ in range(choice.randrange(4))])
        else:
            values.append([choice.choice(EDGES) for _ in range(choice.randrange(4))])
    return cls(**dict(zip(cls.__match_args__, values)))


def spoil(choice, data):
    """A changed copy of the bytes."""
    data = bytearray(data)
    for _ in range(choice.choice((1, 1, 2, 5))):
        what = choice.randrange(5)
        at = choice.randrange(len(data) + 1)
        if what == 0 and data:
            data[at - 1] = choice.choice(EDGES) & 255
        elif what == 1:
            del data[at:]
        elif what == 2:
            data[at:at] = choice.randbytes(choice.randrange(1, 9))
        elif what == 3 and data:
            data[at - 1] ^= 1 << choice.randrange(8)
        else:
            data[at : at + 4] = choice.choice(EDGES).to_bytes(4, "little")
    return bytes(data)


def test_every_frame_round_trips():
    choice = random.Random(1)
    for cls in ALL.values():
        for _ in range(20):
            frame = sample(choice, cls)
            assert wire.decode(wire.encode_bare(frame), ALL) == frame


@pytest.mark.timeout(900)
def test_corrupted_frames_are_decoded_or_raise_protocol_error():
    choice = random.Random(2)
    refused = 0
    for i in range(INPUTS):
        data = spoil(choice, wire.encode_bare(sample(choice, CLASSES[i % len(CLASSES)])))
        try:
            wire.decode(data, ALL)
        except ProtocolError:
            refused += 1
    assert refused > INPUTS // 3


@pytest.mark.timeout(900)
def test_a_corrupted_stream_is_refused_or_buffered_up_to_one_frame():
    choice = random.Random(3)
    for _ in range(INPUTS // 10):
        decoder = wire.Decoder(ALL)
        stream = b"".join(wire.encode(sample(choice, choice.choice(CLASSES))) for _ in range(3))
        data = spoil(choice, stream)
        try:
            while data:
                cut = choice.randrange(1, len(data) + 1)
                list(decoder.feed(data[:cut]))
                data = data[cut:]
        except ProtocolError:
            pass
        assert len(decoder._buffer) <= wire.MAX_FRAME_BYTES


def test_garbage_is_never_accepted_as_proof():
    choice = random.Random(4)
    secret = bytes(32)
    for _ in range(INPUTS // 10):
        server = authentication.Server(secret, choice.randbytes(authentication.NONCE_BYTES))
        client = authentication.Client(secret, choice.randbytes(authentication.NONCE_BYTES))
        answer = client.answer(server.greeting)
        with pytest.raises(ProtocolError):
            server.check(
                choice.choice(
                    (spoil(choice, answer[:-1] + b"~"), choice.randbytes(authentication.ANSWER_BYTES))
                )
            )
        with pytest.raises(ProtocolError):
            client.answer(spoil(choice, server.greeting)[: authentication.GREETING_BYTES - 1] + b"")


def test_an_authentication_answer_is_valid_for_one_connection_only():
    secret = bytes(range(32))
    first, second = (
        authentication.Server(secret, bytes([i]) * authentication.NONCE_BYTES) for i in range(2)
    )
    answer = authentication.Client(secret, bytes(authentication.NONCE_BYTES)).answer(first.greeting)
    first.check(answer)
    with pytest.raises(ProtocolError):
        second.check(answer)  # replayed


def test_a_false_length_costs_neither_memory_nor_time():
    started = time.process_time()
    for kind in (b"\x1f", b"\x01", b"\x24"):
        for lie in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"):
            with pytest.raises(ProtocolError):
                wire.decode(kind + lie * 40, ALL)
    # Not about speed: a list of four billion items would take minutes.
    assert time.process_time() - started < 5
