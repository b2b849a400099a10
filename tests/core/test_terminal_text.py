import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.output.terminal_text import Rows, columns, cut, decode, split_characters, wrap

TEXTS = st.text(st.sampled_from("ab 漢é\u0301😀\t") | st.characters(), max_size=40)


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


@given(TEXTS.map(lambda text: text.replace("\x1b", "").replace("\t", "")), st.integers(2, 12))
def test_wrapped_pieces_fit_and_are_the_line_again(text, width):
    pieces = wrap(text.encode("utf-8", "surrogatepass"), width)
    assert b"".join(pieces) == text.encode("utf-8", "surrogatepass")
    assert all(sum(map(columns, decode(piece))) <= width for piece in pieces)


def test_a_colour_goes_on_in_the_next_piece_and_ends_before_its_indent():
    assert wrap(b"\x1b[31mabcd\x1b[0me", 3) == [b"\x1b[31mabc\x1b[0m", b"\x1b[31md\x1b[0me"]


@given(st.binary(max_size=60), st.integers(1, 12))
def test_a_cut_line_fits_the_width_and_does_not_move_the_cursor(data, width):
    row = decode(cut(data, width))
    for escape in ("\x1b[0m",):
        row = row.replace(escape, "")
    assert not set(row) & {"\n", "\r", "\b", "\t", "\x07"}
    if "\x1b" not in row:
        assert sum(map(columns, row)) <= width


def test_a_status_row_keeps_its_colours_and_ends_them():
    assert cut("\x1b[31m漢字\x1b[2K\x1b[Ab".encode(), 4) == "\x1b[31m漢字\x1b[0m".encode()


@pytest.mark.parametrize(
    "data, rows",
    [
        (b"10 %\r20 %", [b"20 %"]),
        (b"long line\rshort", [b"shortline"]),
        (b"long line\r\x1b[Kshort", [b"short"]),
        (b"abc\b\bX", [b"aXc"]),
        (b"1\n2\n3\x1b[2A\rA\x1b[B\rB", [b"A", b"B", b"3"]),
        (b"one\n\x1b[2K\x1b[1A\x1b[2Ktwo", [b"two", b""]),
        (b"ab\x1b]8;;http://x\x1b\\cd", [b"abcd"]),
        ("漢字\rab".encode(), ["ab字".encode()]),
        (b"x\x1b[3Cy", [b"x   y"]),
        (b"\x1b[32mgreen\x1b[0m plain", [b"\x1b[32mgreen\x1b[0m plain"]),
    ],
)
def test_the_text_is_what_a_terminal_would_show(data, rows):
    assert Rows(data).rows == rows


PARTS = b"a|bc|\r|\n|\b|\x1b[A|\x1b[2B|\x1b[K|\x1b[2K|\x1b[1K|\x1b[2C|\x1b[D|\x1b[3G|\x1b[F|\x1b[E".split(
    b"|"
)


@given(st.lists(st.sampled_from(PARTS), max_size=20))
def test_a_real_terminal_shows_the_same(pieces):
    pyte = pytest.importorskip("pyte")
    data = b"".join(pieces)
    screen = pyte.Screen(60, 45)
    # A line feed goes to the first column, as it does through the terminal's driver.
    screen.set_mode(pyte.modes.LNM)
    pyte.ByteStream(screen).feed(data)
    shown = Rows(data)
    expected = [line.rstrip() for line in screen.display[: len(shown.rows)]]
    assert [row.decode().rstrip() for row in shown.rows] == expected
    assert shown.row == screen.cursor.y


def test_many_states_of_one_line_cost_little():
    assert Rows(b"".join(b"\r%d" % i for i in range(200_000))).rows == [b"199999"]
