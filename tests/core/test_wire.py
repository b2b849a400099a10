import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.protocol import launcher_root, wire
from cmpi.errors import ProtocolError
from tests.core.frames import ALL

VALUES = {
    "?": st.booleans(),
    "B": st.sampled_from([0, 1, 255]),
    "H": st.sampled_from([0, 65535]),
    "I": st.sampled_from([0, 1, (1 << 32) - 1]),
    "Q": st.sampled_from([0, 1, (1 << 64) - 1]),
    "d": st.floats(allow_nan=False),
    "s": st.sampled_from(["", "a", "ü€😀", "\udcff/path", "\0"]),
    "y": st.sampled_from([b"", b"\0", b"x" * 300]),
    "S": st.lists(st.sampled_from(["", "a b", "ü"]), max_size=3),
    "L": st.lists(st.sampled_from([0, (1 << 64) - 1]), max_size=3),
}
CLASSES = list(ALL.values())


@st.composite
def any_frame(draw):
    cls = draw(st.sampled_from(CLASSES))
    return cls(**{name: draw(VALUES[letter]) for name, letter in zip(cls.__match_args__, cls.LAYOUT)})


@given(st.lists(any_frame(), max_size=4), st.integers(1, 40))
def test_frames_cut_anywhere_come_out_as_they_went_in(sent, step):
    data = b"".join(map(wire.encode, sent))
    decoder, received = wire.Decoder(ALL), []
    for at in range(0, len(data), step):
        received += decoder.feed(data[at : at + step])
    assert received == sent


@given(st.binary(max_size=60))
def test_garbage_gives_protocol_error_and_nothing_else(data):
    try:
        list(wire.Decoder(ALL).feed(data))
    except ProtocolError:
        pass


def test_mutated_frames_give_protocol_error_and_nothing_else():
    rng = random.Random(1)
    samples = [wire.encode(_sample(cls)) for cls in CLASSES]
    for _ in range(20_000):
        data = bytearray(rng.choice(samples))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            list(wire.Decoder(ALL).feed(bytes(data)))
        except ProtocolError:
            pass


def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_awaited():
    with pytest.raises(ProtocolError, match="bytes"):
        wire.Decoder(ALL).feed((wire.MAX_FRAME_BYTES + 1).to_bytes(4, "little"))


def test_trailing_bytes_in_a_frame_are_refused():
    data = bytearray(wire.encode(launcher_root.Final(0)))
    data[0] += 1
    with pytest.raises(ProtocolError):
        wire.Decoder(ALL).feed(bytes(data) + b"x")


def _sample(cls):
    values = {"s": "text", "y": b"bytes", "S": ["a", "b"], "L": [1, 2], "d": 1.5}
    return cls(**{name: values.get(letter, 1) for name, letter in zip(cls.__match_args__, cls.LAYOUT)})
