import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.output.output import (
    FAILED_S,
    FIRST_STATE_S,
    FLUSH_AFTER_S,
    INTERRUPT_AFTER_S,
    LONGEST_S,
    QUIET,
    SHOW_AFTER_S,
    STATE_S,
    VERBOSE,
    Formatter,
    Speaker,
)
from cmpi._core.output.places import REDRAW_S
from cmpi._core.output.spawn_notes import FOLD_S
from cmpi._core.output.streams import LONG_LINE_BYTES
from cmpi.identifiers import ExitStatus

A, B = (
    Speaker(0xA, None, "h", 0, "rank 0", "rank 0", "a"),
    Speaker(0xB, 0xA, "h", None, "b", "b · 000000b", "b"),
)
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


def formatter(form, **options):
    f = Formatter(form, **{"verbosity": QUIET, **options})
    for who in (A, B):
        f.born(who, 0.0)
    return f


def join_bytes(printed, fd):
    """All bytes for one destination."""
    return b"".join(data for place, data in printed if place == fd)


def run(formatter, pieces):
    now, printed = 0.0, []
    for who, fd, data, wait in pieces:
        now += wait
        printed += formatter.tick(now)
        printed += formatter.output(who.pid, fd, data, now)
    for who in (A, B):
        for fd in (1, 2):
            printed += formatter.output(who.pid, fd, b"", now)
    return printed + formatter.ended({}, now)


@given(PIECES)
def test_json_output_preserves_every_byte_in_order(pieces):
    got = {}
    for _, line in run(formatter("json"), pieces):
        event = json.loads(line)
        if event["event"] == "end":
            continue
        data = event["data"].encode() if "data" in event else base64.b64decode(event["data_base64"])
        key = (event["pid"], event["fd"])
        got[key] = got.get(key, b"") + data
    for who in (A, B):
        for fd in (1, 2):
            sent = b"".join(d for w, f, d, _ in pieces if (w, f) == (who, fd))
            assert got.get((f"{who.pid:07x}", fd), b"") == sent


@given(PIECES)
def test_plain_prints_just_the_bytes_when_one_process_speaks(pieces):
    pieces = [p for p in pieces if p[0] is A and p[1] == 1]
    printed = run(formatter("plain"), pieces)
    assert join_bytes(printed, 1) == b"".join(p[2] for p in pieces)


@given(PIECES)
def test_plain_loses_and_reorders_nothing_and_adds_only_line_ends(pieces):
    printed = run(formatter("plain"), pieces)
    for fd in (1, 2):
        out = join_bytes(printed, fd).replace(b"\n", b"")
        sent = b"".join(p[2] for p in pieces if p[1] == fd).replace(b"\n", b"")
        assert sorted(out) == sorted(sent)


@pytest.mark.parametrize("form", ["human", "headings"])
@given(PIECES)
def test_human_output_without_titles_is_what_was_written(form, pieces):
    pieces = [(w, 1, d, t) for w, _, d, t in pieces if b"\n" not in d]
    printed = join_bytes(run(formatter(form), pieces), 1)
    got, speaker = {A.title: b"", B.title: b""}, None
    for line in printed.split(b"\n"):
        if form == "headings" and line.startswith(b"  "):
            got[speaker] += line[2:]
        elif form == "headings":
            speaker = line.decode()
        elif line:
            title, _, text = line.partition(" │ ".encode())
            got[title.decode().rstrip()] += text
    for who in (A, B):
        assert got[who.title] == b"".join(d for w, _, d, _ in pieces if w is who)


def test_a_line_is_held_until_it_ends():
    f = formatter("plain")
    assert f.output(A.pid, 1, b"half", 0.0) == []
    assert f.output(A.pid, 1, b" done\n", 0.1) == [(1, b"half done\n")]


def test_a_prompt_is_shown_after_a_while():
    f = formatter("plain")
    f.output(A.pid, 1, b"name? ", 0.0)
    assert f.deadline_s() == FLUSH_AFTER_S
    assert f.tick(FLUSH_AFTER_S) == [(1, b"name? ")]
    assert f.output(A.pid, 1, b"x\n", 1.0) == [(1, b"x\n")]


def test_a_line_whose_end_may_be_stuck_is_not_cut():
    f = formatter("plain")
    f.output(A.pid, 1, b"half", 0.0)
    for i in range(1, 20):
        f.late(i / 10)
        assert f.tick(i / 10 + 0.05) == []
    assert f.tick(1.9 + FLUSH_AFTER_S) == [(1, b"half")]
    f.output(A.pid, 1, b"half", 0.0)
    f.late(LONGEST_S)
    assert f.tick(LONGEST_S) == [(1, b"half")], "but not for ever"


@pytest.mark.parametrize("form", ["plain", "human", "json"])
def test_output_without_line_ends_is_shown(form):
    f, printed = formatter(form), []
    for i in range(100):
        printed += f.output(A.pid, 1, b".", i / 20)
        printed += f.tick(i / 20)
    assert join_bytes(printed, 1).count(b".") >= 95


def test_a_line_without_end_does_not_grow_for_ever():
    assert formatter("plain").output(A.pid, 1, b"x" * (LONG_LINE_BYTES + 1), 0.0)


def test_a_line_is_never_continued_by_another_process():
    f = formatter("plain")
    f.output(A.pid, 1, b"name? ", 0.0)
    f.tick(1.0)
    assert f.output(B.pid, 1, b"hello\n", 1.0) == [(1, b"\nhello\n")]


def test_dots_of_two_processes_do_not_make_a_line_of_each():
    f, printed = formatter("plain"), []
    for i in range(200):
        for who, dot in ((A, b"a"), (B, b"b")):
            printed += f.output(who.pid, 1, dot, i / 20)
        printed += f.tick(i / 20)
    out = join_bytes(printed + f.ended({}, 10.0), 1)
    assert out.count(b"a") == out.count(b"b") == 200
    assert out.count(b"\n") <= 10 / INTERRUPT_AFTER_S + 1


@pytest.mark.parametrize("form", ["plain", "human"])
def test_the_state_of_a_bar_is_printed_to_a_pipe_at_intervals(form):
    f, printed = formatter(form), []
    for i in range(600):
        printed += f.output(A.pid, 2, b"\r%d %%" % i, i / 20)
        printed += f.tick(i / 20)
    printed += f.output(A.pid, 2, b"\n", 30.0)
    lines = join_bytes(printed, 2).decode().splitlines()
    states = [int(line.split()[-2]) for line in lines]
    assert len(states) == 2 + (30 - FIRST_STATE_S) // STATE_S and states[-1] == 599
    assert states[0] == int(20 * FIRST_STATE_S)


def test_human_output_names_the_writer_and_marks_stderr():
    f = formatter("human", one_place=True)
    printed = f.output(A.pid, 1, b"one\ntwo\n", 0.0) + f.output(A.pid, 2, b"oh\n", 0.0)
    assert join_bytes(printed + f.output(B.pid, 1, b"three\n", 0.0), 1).decode().splitlines() == [
        "rank 0      │ one",
        "rank 0      │ two",
        "rank 0      ! oh",
        "b · 000000b │ three",
    ]


def test_a_heading_is_printed_where_the_writing_process_changes():
    f = formatter("headings", one_place=True)
    printed = f.output(A.pid, 1, b"one\n", 0.0) + f.output(A.pid, 2, b"oh\n", 0.0)
    printed += f.output(B.pid, 1, b"two\n", 0.0)
    assert join_bytes(printed, 1).decode().splitlines() == [
        "rank 0", "  one", "  ! oh", "b · 000000b", "  two"
    ]  # fmt: skip


def test_an_ascii_terminal_gets_only_ascii():
    f = formatter("human", utf8=False)
    assert f.output(B.pid, 1, b"x\n", 0.0) == [(1, b"b : 000000b | x\n")]


def test_spawns_are_folded_and_clean_ends_are_not_printed():
    f, printed = Formatter("human"), []
    printed += f.born(A, 0.0)
    children = [Speaker(0x100 + i, A.pid, "h", None, "work", f"work · {i}", "work") for i in range(50)]
    for who in children:
        printed += f.born(who, 0.0)
    printed += f.tick(FOLD_S)
    for who in children:
        printed += f.died(who.pid, ExitStatus(0), {}, 1.0)
    printed += f.tick(9.0) + f.died(A.pid, ExitStatus(0), {}, 9.0) + f.ended({}, 9.0)
    assert join_bytes(printed, 1).decode().split() == ["rank", "0", "+", "50", "work"]


def test_quiet_shows_no_spawns_and_verbose_shows_all_and_the_ends():
    for verbosity, lines in ((QUIET, 0), (VERBOSE, 3)):
        f = Formatter("human", verbosity=verbosity)
        printed = f.born(A, 0.0) + f.born(B, 0.0)
        printed += f.died(B.pid, ExitStatus(0), {}, 0.0) + f.died(A.pid, ExitStatus(0), {}, 0.0)
        assert join_bytes(printed, 1).count(b"\n") == lines


def test_a_failure_is_noted_unless_the_job_ends_with_it_and_its_report_says_so():
    f = formatter("human")
    assert f.died(B.pid, ExitStatus(1, 0, "ValueError: x"), {}, 0.0) == []
    assert f.tick(FAILED_S) == [(1, "b · 000000b ✗ 1: ValueError: x\n".encode())]
    f = formatter("human")
    f.died(B.pid, ExitStatus(1), {}, 0.0)
    assert f.ended({}, 0.0) == [] and f.tick(FAILED_S) == []


def test_output_uses_a_processs_new_name():
    f = formatter("human")
    f.named(B.pid, "db", "db · 000000b")
    try:
        assert f.output(B.pid, 1, b"x\n", 0.0) == [(1, "db · 000000b │ x\n".encode())]
    finally:
        B.name, B.title = "b", "b · 000000b"


def test_a_processs_colour_is_stable_and_absent_without_colour():
    coloured = [join_bytes(formatter("human", colour=True).output(A.pid, 1, b"x\n", 0.0), 1) for _ in "ab"]
    assert coloured[0] == coloured[1] and b"\x1b[" in coloured[0]
    assert b"\x1b" not in join_bytes(formatter("human").output(A.pid, 1, b"x\n", 0.0), 1)


def test_a_colour_that_a_program_leaves_on_ends_with_its_line():
    printed = formatter("human").output(A.pid, 1, b"\x1b[31mred\nplain\n", 0.0)
    assert join_bytes(printed, 1).splitlines()[0].endswith(b"\x1b[0m")


def test_an_alarm_of_cmpirun_is_red_and_starts_its_own_line():
    f = formatter("human", colour=True, one_place=True)
    f.output(A.pid, 1, b"half", 0.0)
    f.tick(1.0)
    ((_, data),) = f.say("cmpirun: failed\n    more\n", 1.0, alarm=True)
    assert data == b"\n\x1b[31mcmpirun: failed\x1b[0m\n    more\n"


def test_the_last_lines_of_a_failure_are_repeated_only_if_out_of_sight():
    f = formatter("plain")
    f.output(A.pid, 2, b"x" * 10_000 + b"the end\n", 0.0)
    assert f.tail(A.pid) == b""
    f.output(B.pid, 2, b"more\n" * 100, 0.0)
    assert f.tail(A.pid).endswith(b"the end\n") and len(f.tail(A.pid)) <= 4096


def test_json_has_rank_name_and_times_in_seconds_since_1970():
    f = Formatter("json", epoch_s=1e9)
    events = [json.loads(f.born(who, 2.5)[0][1]) for who in (A, B)]
    assert [(e["rank"], e["name"], e["pid"], e["parent"]) for e in events] == [
        (0, "rank 0", "000000a", None), (None, "b", "000000b", "000000a")
    ]  # fmt: skip
    assert events[0]["time"] == 1e9 + 2.5
    (_, end) = f.ended({"code": 3}, 3.0)[-1]
    assert json.loads(end) == {"event": "end", "time": 1e9 + 3.0, "code": 3}


# -- on a terminal -------------------------------------------------------------------------


class Screen:
    """What the user sees of a formatter's terminal."""

    def __init__(self, columns=60, rows=12, **options):
        pyte = pytest.importorskip("pyte")
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.ByteStream(self.screen)
        self.formatter = formatter("human", one_place=True, terminals=(1, 2), **options)
        self.formatter.resized(1, columns, rows)
        self.updates = 0

    def show(self, printed):
        for _, data in printed:
            self.updates += 1
            self.stream.feed(data)

    def output(self, who, fd, data, now_s):
        self.show(self.formatter.output(who.pid, fd, data, now_s))
        self.tick(now_s)

    def tick(self, now_s):
        self.show(self.formatter.tick(now_s))

    @property
    def lines(self):
        """All lines from the beginning, and where the cursor is."""
        above = [
            "".join(row[x].data for x in range(self.screen.columns)).rstrip()
            for row in self.screen.history.top
        ]
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return above + shown


def test_a_bar_is_redrawn_in_place_below_the_text_and_stays_in_its_last_state():
    s = Screen()
    for i in range(100):
        s.output(B, 2, b"\r%d %%" % i, i / 10)
        if i % 25 == 0:
            s.output(A, 1, b"step %d\n" % i, i / 10)
    assert s.lines == [*(f"rank 0      │ step {i}" for i in (0, 25, 50, 75)), "b · 000000b ! 99 %"]
    s.output(B, 2, b"\r100 %\n", 10.0)
    s.show(s.formatter.ended({}, 10.0))
    assert s.lines[4:] == ["b · 000000b ! 100 %"]


def test_there_are_at_most_ten_updates_a_second():
    s = Screen()
    s.output(B, 2, b"\r0", 0.0)
    s.tick(SHOW_AFTER_S)
    for i in range(100, 5001):
        s.output(B, 2, b"\r%d" % i, i / 1000)
        s.output(A, 1, b"line\n", i / 1000)
    assert s.updates <= 5 / REDRAW_S + 2
    s.tick(6.0)
    assert s.lines[-1] == "b · 000000b ! 5000" and s.lines.count("rank 0      │ line") == 4901


def test_without_status_lines_text_is_shown_at_once():
    s = Screen()
    for i in range(10):
        s.show(s.formatter.output(A.pid, 1, b"%d\n" % i, i / 1000))
    assert len(s.lines) == 10


def test_a_prompt_is_shown_with_the_cursor_behind_it_and_stays_with_its_answer():
    s = Screen()
    s.output(A, 1, b"name? ", 0.0)
    s.tick(SHOW_AFTER_S)
    assert (s.screen.cursor.x, s.screen.cursor.y) == (len("rank 0      │ name? "), 0)
    s.output(B, 1, b"working\n", 1.0)
    assert s.lines == ["b · 000000b │ working", "rank 0      │ name?"]
    s.stream.feed(b"bob\n")  # the terminal's driver echoes it
    s.show(s.formatter.typed(A.pid, b"bob\n", 2.0))
    s.output(A, 1, b"hello bob\n", 2.0)
    s.tick(3.0)
    assert s.lines == ["b · 000000b │ working", "rank 0      │ name? bob", "rank 0      │ hello bob"]


def test_many_bars_take_only_part_of_the_screen():
    s = Screen(rows=12)
    people = [Speaker(0x100 + i, None, "h", i, f"rank {i}", f"rank {i}", "x") for i in range(50)]
    for who in people:
        s.show(s.formatter.born(who, 0.0))
    for who in people:
        s.output(who, 2, b"\r50 %", 0.0)
    s.tick(1.0)
    assert len(s.lines) == 4 and s.lines[0] == "... and 47 more"
    s.output(A, 1, b"text\n", 1.0)
    s.tick(2.0)
    assert s.lines[0] == "rank 0      │ text" and len(s.lines) == 5


def test_several_bars_of_one_process_are_all_shown_if_there_is_room():
    s = Screen(rows=24)
    s.output(A, 1, b"\x1b[?25la 1\nb 1", 0.0)
    s.output(A, 1, b"\r\x1b[2K\x1b[1A\x1b[2Ka 2\nb 2", 0.5)
    s.tick(1.0)
    assert s.lines == ["rank 0      │ a 2", "rank 0      │ b 2"]


def test_long_lines_are_wrapped_with_their_indent_and_long_states_are_cut():
    s = Screen(columns=40)
    s.output(A, 1, b"word " * 10 + b"\n", 0.0)
    s.output(A, 2, b"\r" + b"#" * 100, 0.0)
    s.tick(1.0)
    room = 40 - len("rank 0      │ ")
    assert [line.partition("│ ")[2] for line in s.lines[:2]] == [
        ("word " * 10)[:room].rstrip(),
        ("word " * 10)[room:].rstrip(),
    ]
    assert s.lines[1].startswith("            │ ")
    assert s.lines[2:] == ["rank 0      ! " + "#" * (room - 1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B]),
            st.sampled_from([1, 2]),
            st.sampled_from([b"x", b"\n", b"line\n", b"\r50 %", "漢字".encode(), b"y" * 70, b"\r"]),
            st.sampled_from([0.0, 0.05, 0.2]),
        ),
        max_size=25,
    ),
    st.sampled_from([(20, 6), (60, 12)]),
)
def test_at_the_end_the_screen_shows_every_line_and_nothing_else(pieces, size):
    """At the end, redrawing has left no trace."""
    s, now = Screen(*size), 0.0
    for who, fd, data, wait in pieces:
        now += wait
        s.tick(now)
        s.output(who, fd, data, now)
    s.show(s.formatter.ended({}, now))
    at_once = Screen(*size)  # here nothing has time to become a status line
    for who, fd, data, _ in pieces:
        at_once.show(at_once.formatter.output(who.pid, fd, data, 0.0))
    at_once.show(at_once.formatter.ended({}, 0.0))
    assert s.lines == at_once.lines
