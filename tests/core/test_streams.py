from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.output.streams import LIVE_S, LONG_LINE_BYTES, OutputStream

INFINITY = float("inf")
PARTS = [b"x", b"\n", b"one\ntwo\n", b"\r", b"30%", b"\r\n", b"\x1b[A", b"\x1b[?25l", b"\b", b"a" * 70_000]
PIECES = st.lists(
    st.tuples(
        st.sampled_from(PARTS),
        st.sampled_from([0.0, 1.0]),
    ),
    max_size=15,
)


def run(stream, pieces):
    now, out = 0.0, []
    for data, wait in pieces:
        now += wait
        out += [stream.tick(now), stream.take(data, now)]
    return [*out, stream.end(now)]


@given(PIECES)
def test_the_form_for_programs_passes_every_byte_on(pieces):
    stream = OutputStream(screen=False, patience_s=INFINITY)
    assert b"".join(run(stream, pieces)) == b"".join(data for data, _ in pieces)


@given(PIECES)
def test_output_that_comes_at_once_is_passed_on_byte_for_byte(pieces):
    stream = OutputStream(screen=False, patience_s=0.2)
    assert b"".join(run(stream, [(data, 0.0) for data, _ in pieces])) == b"".join(d for d, _ in pieces)


@given(PIECES)
def test_cursor_movements_are_removed_from_human_output(pieces):
    pieces = [(data, wait) for data, wait in pieces if b"[A" not in data and b"[?" not in data]
    out = b"".join(run(OutputStream(screen=True, patience_s=0.2), pieces))
    assert not set(out) & set(b"\r\b")


@given(PIECES)
def test_memory_for_unfinished_lines_is_bounded(pieces):
    stream = OutputStream(screen=True, patience_s=0.2)
    for data, _ in pieces * 3:
        stream.take(data, 0.0)
        assert len(stream.rest) <= LONG_LINE_BYTES + 70_000


def test_binary_data_that_contain_carriage_returns_are_passed_on_byte_for_byte():
    data = bytes(range(256)) * 20
    stream = OutputStream(screen=False, patience_s=0.2)
    assert stream.take(data, 0.0) + stream.end(10.0) == data


def test_only_the_last_state_of_a_slow_bar_remains():
    stream = OutputStream(screen=False, patience_s=0.2)
    assert [stream.take(b"\r%d %%" % i, float(i)) for i in range(3)] == [b"", b"", b""]
    assert stream.redrawn and stream.rows() == [b"2 %"]
    assert stream.take(b"\r3 %\nnext\n", 3.0) == b"3 %\nnext\n"


def test_several_bars_stay_one_live_text_until_they_stop_changing():
    stream = OutputStream(screen=True, patience_s=0.2)
    assert stream.take(b"\x1b[?25l", 0.0) == b""
    assert stream.take(b"a 1\nb 1", 0.0) == b""
    assert stream.take(b"\r\x1b[2K\x1b[1A\x1b[2Ka 2\nb 2", 0.1) == b""
    assert stream.rows() == [b"a 2", b"b 2"]
    assert stream.take(b"\ndone\n", 0.2) == b"" and stream.tick(0.2) == b""
    assert stream.deadline_s == 0.1 + LIVE_S
    assert stream.tick(0.1 + LIVE_S) == b"a 2\nb 2\ndone\n" and stream.rest == b"" and not stream.live


def test_lines_above_the_bars_are_passed_on_while_the_bars_go_on():
    stream, out = OutputStream(screen=True, patience_s=0.2), b""
    frame = b"\r\x1b[2K\x1b[1A\x1b[2K"
    out += stream.take(b"\x1b[?25la 0\nb 0", 0.0)
    for i in range(200):
        out += stream.take(
            frame + (b"log %d\n" % i if i % 50 == 0 else b"") + b"a %d\nb %d" % (i, i), i / 100
        )
    assert out.splitlines() == [b"log 0", b"log 50", b"log 100", b"log 150"]
    assert stream.rows() == [b"a 199", b"b 199"]
