import json

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.job.output import FLUSH_AFTER_S, LONG_LINE_BYTES, Formatter, Speaker, split_characters
from cmpi.identifiers import ExitStatus

A, B = Speaker(0xA, None, "h", 0, "a"), Speaker(0xB, 0xA, "h", 0, "b")
PIECES = st.lists(
    st.tuples(
        st.sampled_from([A, B]),
        st.sampled_from([1, 2]),
        st.sampled_from(
            [b"x", b"\n", b"one\ntwo\n", "ü€😀".encode(), b"\xf0", b"\x9f\x98", b"\xff", b"a" * 70_000]
        ),
        st.sampled_from([0.0, FLUSH_AFTER_S]),
    ),
    max_size=12,
)


def join_bytes(printed, fd):
    """All bytes for one destination."""
    return b"".join(data for place, data in printed if place == fd)


def run(formatter, pieces):
    now, printed = 0.0, []
    for who, fd, data, wait in pieces:
        now += wait
        printed += formatter.tick(now)
        printed += formatter.output(who, fd, data, now)
    for who in (A, B):
        for fd in (1, 2):
            printed += formatter.output(who, fd, b"", now)
    return printed


@given(PIECES)
def test_json_brings_back_every_byte_in_order(pieces):
    import base64

    got = {}
    for _, line in run(Formatter("json"), pieces):
        event = json.loads(line)
        data = event["data"].encode() if "data" in event else base64.b64decode(event["data_base64"])
        key = (event["pid"], event["fd"])
        got[key] = got.get(key, b"") + data
    for who in (A, B):
        for fd in (1, 2):
            sent = b"".join(d for w, f, d, _ in pieces if (w, f) == (who, fd))
            assert got.get((who.name, fd), b"") == sent


@given(PIECES)
def test_plain_prints_just_the_bytes_when_one_process_speaks(pieces):
    pieces = [p for p in pieces if p[0] is A and p[1] == 1]
    printed = run(Formatter("plain"), pieces)
    assert join_bytes(printed, 1) == b"".join(p[2] for p in pieces)


@given(PIECES)
def test_plain_loses_and_reorders_nothing_and_adds_only_line_ends(pieces):
    printed = run(Formatter("plain"), pieces)
    for fd in (1, 2):
        out = join_bytes(printed, fd).replace(b"\n", b"")
        sent = b"".join(p[2] for p in pieces if p[1] == fd).replace(b"\n", b"")
        assert sorted(out) == sorted(sent)


@given(PIECES)
def test_human_output_without_headings_and_indent_is_what_was_written(pieces):
    pieces = [(w, 1, d, t) for w, _, d, t in pieces if b"\n" not in d] + [
        (A, 1, b"\n", 0.0),
        (B, 1, b"\n", 0.0),
    ]
    printed = join_bytes(run(Formatter("human"), pieces), 1)
    got, speaker = {A.name: b"", B.name: b""}, None
    for line in printed.split(b"\n"):
        if line.startswith(b"  "):
            got[speaker] += line[2:]
        elif line:
            speaker = line.decode()
    for who in (A, B):
        sent = b"".join(d for w, _, d, _ in pieces if w is who).replace(b"\n", b"")
        assert got[who.name] == sent


@given(st.text(max_size=20), st.integers(1, 7))
def test_no_character_is_cut_in_half(text, step):
    data, held, whole = text.encode(), b"", ""
    for at in range(0, len(data), step):
        piece, held = split_characters(held + data[at : at + step])
        whole += piece.decode()
    assert whole + held.decode() == text


@given(st.binary(max_size=50))
def test_at_most_three_bytes_are_held_even_of_garbage(data):
    whole, held = split_characters(data)
    assert whole + held == data and len(held) <= 3


def test_a_line_is_held_until_it_ends():
    formatter = Formatter("plain")
    assert formatter.output(A, 1, b"half", 0.0) == []
    assert formatter.output(A, 1, b" done\n", 0.1) == [(1, b"half done\n")]


def test_a_prompt_is_shown_after_a_while():
    formatter = Formatter("plain")
    formatter.output(A, 1, b"name? ", 0.0)
    assert formatter.deadline_s() == FLUSH_AFTER_S
    assert formatter.tick(FLUSH_AFTER_S) == [(1, b"name? ")]
    assert formatter.output(A, 1, b"x\n", 1.0) == [(1, b"x\n")]


def test_a_line_without_end_does_not_grow_for_ever():
    formatter = Formatter("plain")
    assert formatter.output(A, 1, b"x" * (LONG_LINE_BYTES + 1), 0.0)


def test_another_speaker_does_not_continue_a_line():
    formatter = Formatter("plain")
    formatter.output(A, 1, b"name? ", 0.0)
    formatter.tick(1.0)
    assert formatter.output(B, 1, b"hello\n", 1.0) == [(1, b"\nhello\n")]


def test_the_human_form_shows_the_tree():
    f = Formatter("human")
    printed = f.born(A, 0.0) + f.output(A, 1, b"one\ntwo\n", 0.0) + f.born(B, 0.0)
    printed += (
        f.output(B, 1, b"three\n", 0.0)
        + f.died(B, ExitStatus(0), {}, 0.0)
        + f.died(A, ExitStatus(137, 9), {}, 0.0)
    )
    assert join_bytes(printed, 1).decode().splitlines() == [
        "000000a", "  one", "  two", "  spawned: 000000b",
        "000000b", "  three", "  exited: 0",
        "000000a", "  exited: signal 9 (SIGKILL)",
    ]  # fmt: skip


def test_stderr_has_headings_of_its_own_unless_it_is_the_same_terminal():
    for one, headings in ((False, 2), (True, 1)):
        f = Formatter("human", one_terminal=one)
        printed = f.output(A, 1, b"out\n", 0.0) + f.output(A, 2, b"err\n", 0.0)
        assert sum(data.count(b"000000a") for _, data in printed) == headings


def test_colour_is_stable_for_a_pid_and_absent_without():
    coloured = [join_bytes(Formatter("human", colour=True).output(A, 1, b"x\n", 0.0), 1) for _ in "ab"]
    assert coloured[0] == coloured[1] and b"\x1b[" in coloured[0]
    assert b"\x1b" not in join_bytes(Formatter("human").output(A, 1, b"x\n", 0.0), 1)


def test_the_tail_of_stderr_is_kept_for_the_report_and_bounded():
    f = Formatter("plain")
    f.output(A, 2, b"x" * 10_000 + b"the end\n", 0.0)
    assert f.tail(A.pid).endswith(b"the end\n") and len(f.tail(A.pid)) <= 4096


def test_json_times_are_seconds_since_1970():
    ((_, line),) = Formatter("json", epoch_s=1e9).born(A, 2.5)
    assert json.loads(line)["time"] == 1e9 + 2.5
