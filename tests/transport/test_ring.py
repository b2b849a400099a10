"""The ring and the segments: frames in order whatever their sizes, no lost wake-up, slots returned."""

import gc
import os
import random
import select
import struct
import tempfile
import threading
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cmpi._transport import ring
from cmpi._transport.segment import COUNT, SegmentReader, SegmentWriter

pytestmark = pytest.mark.skipif(not ring.usable(), reason="this machine does not keep stores in order")


def taken(reader):
    """Everything in the ring: frames with their tags."""
    frames = []
    while (frame := reader.take()) is not None:
        frames.append((reader.tag, bytes(frame)))
    return frames


class FramesThroughARing(RuleBasedStateMachine):
    """What is taken is what was put, and a frame is refused only if it does not fit."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.writer = ring.RingWriter(f"{self.folder}/ring")
        self.reader = ring.RingReader(f"{self.folder}/ring")
        self.inside = deque()
        self.count = 0

    def teardown(self):
        taken(self.reader)
        assert os.listdir(self.folder) == []
        os.rmdir(self.folder)

    @rule(
        size=st.one_of(st.integers(0, 40), st.integers(0, ring.LARGE_BYTES // 2 - 64)),
        times=st.integers(1, 30),
        pieces=st.booleans(),
    )
    def put(self, size, times, pieces):
        if size > self.writer.longest and not self.writer.grow(ring.LARGE_BYTES):
            return
        for _ in range(times):
            frame = struct.pack("<I", self.count) * (size // 4 + 1)
            frame = frame[:size]
            before = self.writer._nbytes
            tag = ring.PIECE if pieces else self.count
            if not self.writer.put(tag, frame):
                assert before == ring.LARGE_BYTES, "a small one that is full is replaced"
                sizes = [(len(frame) + 15) & ~7 for _, frame in self.inside]
                # The most that is skipped when a record begins at the start again.
                skipped = max(sizes, default=0)
                assert sum(sizes) + skipped + 2 * (size + 16) > ring.LARGE_BYTES // 2, "there was room"
                return
            self.inside.append((tag, frame))
            self.count += 1

    @rule()
    def take(self):
        assert taken(self.reader) == list(self.inside)
        self.inside.clear()
        assert self.reader.sleep()

    @rule()
    def who_sleeps_is_woken_once(self):
        asleep = self.reader.sleep()
        assert asleep == (not self.inside)
        if asleep:
            assert self.writer.put(self.count, b"x")  # possibly in the next file
            self.inside.append((self.count, b"x"))
            self.count += 1
            assert self.writer.must_wake() and not self.writer.must_wake()

    @rule()
    def who_looks_need_not_be_woken(self):
        self.take()  # and follows the writer into its next file
        self.reader.wait(0.0)
        assert not self.writer.must_wake()


FramesThroughARing.TestCase.settings = settings(max_examples=settings.default.max_examples // 4)
TestFramesThroughARing = FramesThroughARing.TestCase


def test_a_piece_is_read_where_it_lies_and_its_space_is_free_with_the_next_call(tmp_path):
    writer = ring.RingWriter(str(tmp_path / "ring"))
    writer.grow(ring.LARGE_BYTES)
    reader, count = ring.RingReader(str(tmp_path / "ring")), 0
    while writer.put(ring.PIECE, bytes([count]) * writer.longest):
        count += 1
    assert count > 1
    piece = reader.take()
    assert reader.tag == ring.PIECE and piece.obj is reader._map.obj
    assert not writer.put(ring.PIECE, b"x" * writer.longest)
    assert piece == bytes([0]) * writer.longest
    assert [frame[0] for _, frame in taken(reader)] == list(range(1, count))
    assert writer.put(ring.PIECE, b"x" * writer.longest)


def test_no_wake_up_is_lost_between_two_processes(tmp_path):
    # The reader sleeps without a timeout, so after a lost ring it would never wake.
    n, choice = 30_000, random.Random(1)
    writer = ring.RingWriter(str(tmp_path / "ring"))
    bell_read, bell_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(bell_write)
            reader, expected = ring.RingReader(str(tmp_path / "ring")), 0
            while expected < n:
                for tag, frame in taken(reader):
                    assert tag == expected and frame == b"z" * (tag % 300)
                    expected += 1
                if expected < n and reader.sleep():
                    ready, _, _ = select.select([bell_read], [], [], 30)
                    assert ready and os.read(bell_read, 1)
            code = 0
        finally:
            os._exit(code)
    end_s = time.monotonic() + 60
    for i in range(n):
        while not writer.put(i, b"z" * (i % 300)):
            assert time.monotonic() < end_s, "the reader has stopped"
        if writer.must_wake():
            os.write(bell_write, b"!")
        if choice.random() < 0.02:
            for _ in range(choice.randrange(3000)):
                pass  # let it fall asleep now and then
    assert os.waitpid(pid, 0)[1] == 0
    os.close(bell_read)
    os.close(bell_write)


def test_a_ring_that_cannot_be_followed_is_tried_again(tmp_path, monkeypatch):
    writer = ring.RingWriter(str(tmp_path / "ring"))
    reader = ring.RingReader(str(tmp_path / "ring"))
    frames = [(i, b"y" * 4000) for i in range(8)]
    assert all(writer.put(*frame) for frame in frames), "into a second file"
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise OSError("too many open files")

        patch.setattr(ring, "map_file", refuse)
        first = taken(reader)
        assert first == frames[: len(first)] and len(first) < 8
        assert reader.stalled and not reader.sleep() and taken(reader) == []
    assert taken(reader) == frames[len(first) :] and not reader.stalled and reader.sleep()


def test_ring_files_that_were_never_mapped_are_removed(tmp_path):
    writer = ring.RingWriter(str(tmp_path / "ring"))
    writer.grow(ring.LARGE_BYTES)
    assert not writer.grow(ring.LARGE_BYTES) and writer.grow(ring.HUGE_BYTES)
    assert len(os.listdir(tmp_path)) == 3
    ring.unlink_rings(str(tmp_path / "ring"))
    assert os.listdir(tmp_path) == []


def test_a_missing_ring_is_an_error(tmp_path):
    with pytest.raises(OSError):
        ring.RingReader(str(tmp_path / "none"))


@pytest.fixture
def pair(tmp_path):
    nbytes = 1 << 20
    writer = SegmentWriter(str(tmp_path / "segment"), 1, nbytes)
    reader = SegmentReader(str(tmp_path / "segment"))
    assert os.listdir(tmp_path) == []
    return writer, reader


def test_a_slot_is_freed_with_the_last_reference_to_it(pair):
    writer, reader = pair
    place = writer.allocate(1 << 20)
    place.fill(np.full(1 << 20, 7, np.uint8))
    _, index, offset = place.sent()
    memory = reader.take(index, offset, 1 << 20)
    part = memory.view(np.int64)[5:9]
    del memory, place
    gc.collect()
    assert writer.allocate(1) is None
    assert (part.view(np.uint8) == 7).all()
    del part
    gc.collect()
    assert writer.allocate(1 << 20) is not None


def test_a_writer_can_wait_until_its_last_slot_is_free_again(pair):
    writer, reader = pair
    _, index, offset = writer.allocate(1 << 19).sent()
    held = [reader.take(index, offset, 1 << 19)]
    assert not writer.await_last(0.001)
    threading.Timer(0.02, held.clear).start()
    assert writer.await_last(20.0)
    assert writer.allocate(1 << 19).offset == offset


def test_an_allocated_slot_that_was_never_sent_is_freed(pair):
    writer, _ = pair
    for _ in range(3):
        place = writer.allocate(1 << 20)
        assert place is not None
        del place


def test_a_segment_has_as_many_slots_as_words(pair):
    writer, _ = pair
    places = [writer.allocate(64) for _ in range(COUNT)]
    assert None not in places
    assert writer.allocate(64) is None


def test_a_forked_process_frees_no_slots(pair):
    writer, reader = pair
    _, index, offset = writer.allocate(1 << 20).sent()
    memory = reader.take(index, offset, 1 << 20)
    pid = os.fork()
    if pid == 0:
        del memory
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    assert writer.allocate(1) is None
    del memory


def test_a_full_file_system_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(OSError):
        SegmentWriter(str(tmp_path / "segment"), 1, 1 << 50)
    assert os.listdir(tmp_path) == []
