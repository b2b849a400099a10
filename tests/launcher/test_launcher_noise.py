import itertools

from hypothesis import given
from hypothesis import strategies as st

from cmpi.launcher.mpi.launcher_noise import MOST_PAUSES, LauncherNoise

RULE = b"-" * 74 + b"\n"
PRRTE = (
    RULE
    + b"prterun has exited due to process rank 0 with PID 22145 on node vm exiting\nimproperly. There are"
    b" three reasons this could occur:\n\n1. this process did not call init\n" + RULE
)
HYDRA = (
    b"=" * 83 + b"\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   PID 22552 RUNNING AT vm\n"
    b"=   EXIT CODE: 9\n" + b"=" * 83 + b"\n"
)
LINES = [
    b"[proxy:0@vm] HYDU_sock_write (/lib/utils/sock.c:250): write error (Broken pipe)\n",
    b"[mpiexec@vm] control_cb: assert (!closed) failed\n",
    b"[vm:13785] PMIX ERROR: PMIX_ERROR in file prted/pmix/pmix_server_dyn.c at line 1113\n",
    b"PMIX ERROR: PMIX_ERR_UNREACH in ptl_base_connection_hdlr.c\n",
    b"[warn] Epoll ADD(4) on fd 23 failed\n",
    b"YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n",
]
OUTPUT = [
    b"hello\n", b"\n", b"[1, 2, 3]\n", b"[vm:1234] *** An error occurred in MPI_Send\n", b"-1.5\n",
    b"=====\n",
    b"\r 50 %", b"Traceback (most recent call last):\n", RULE, b"no end of line", b"\xff\x00",
]  # fmt: skip
NOISE = [PRRTE, HYDRA, *LINES]


def sort(pieces):
    noise = LauncherNoise()
    got = [noise.feed(piece) for piece in pieces if piece]
    got += [noise.feed(b"") for _ in range(MOST_PAUSES)]
    assert not noise.undecided
    return b"".join(shown for shown, _ in got), b"".join(said for _, said in got)


def cut(data, cuts):
    at = sorted({0, len(data), *(int(c * len(data)) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


CUTS = st.lists(st.floats(0, 1), max_size=6)


@given(st.lists(st.sampled_from(OUTPUT), max_size=12), CUTS)
def test_output_of_processes_is_passed_on_byte_for_byte(parts, cuts):
    data = b"".join(parts)
    assert sort(cut(data, cuts)) == (data, b"")


@given(st.lists(st.sampled_from(NOISE), max_size=5), CUTS)
def test_messages_of_the_launchers_are_kept_back(parts, cuts):
    data = b"".join(parts)
    assert sort(cut(data, cuts)) == (b"", data)


WHOLE = [part for part in OUTPUT if part.endswith(b"\n") and part != RULE]


@given(st.lists(st.sampled_from([*WHOLE, *NOISE]), max_size=12), CUTS)
def test_messages_and_output_are_told_apart_wherever_the_stream_is_cut(parts, cuts):
    shown, noise = sort(cut(b"".join(parts), cuts))
    assert shown == b"".join(part for part in parts if part in WHOLE)
    assert noise == b"".join(part for part in parts if part in NOISE)


@given(st.floats(0.4, 1), st.integers(1, MOST_PAUSES - 1))
def test_a_message_that_comes_in_two_parts_with_pauses_between_is_kept_back(at, pauses):
    noise, cut = LauncherNoise(), int(at * len(PRRTE))
    parts = PRRTE[:cut], *[b""] * pauses, PRRTE[cut:], b"hello\n", *[b""] * MOST_PAUSES
    got = [noise.feed(data) for data in parts]
    assert b"".join(shown for shown, _ in got) == b"hello\n"
    assert b"".join(said for _, said in got) == PRRTE


def test_output_after_a_message_without_end_is_passed_on_again():
    noise = LauncherNoise()
    assert noise.feed(RULE + b"prterun noticed that") == (b"", b"")
    assert noise.feed(b"") == (b"", RULE)
    rest = [noise.feed(b"") for _ in range(MOST_PAUSES - 1)]
    assert rest == [(b"", b"")] * (MOST_PAUSES - 2) + [(b"", b"prterun noticed that")]
    assert noise.feed(b"hello\n") == (b"hello\n", b"") and not noise.undecided


def test_a_line_that_is_not_a_launcher_message_passes_at_once():
    noise = LauncherNoise()
    assert noise.feed(b"name? ") == (b"name? ", b"") and not noise.undecided
    assert noise.feed(b"[proxy:0@") == (b"[proxy:0@", b""), "in the middle of a line"
    assert noise.feed(b"\n[pro") == (b"\n", b"") and noise.undecided
