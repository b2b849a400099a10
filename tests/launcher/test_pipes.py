import os
import selectors

from hypothesis import given
from hypothesis import strategies as st

from cmpi.launcher.hosts.pipes import WatchedPipe


@given(st.lists(st.one_of(st.integers(1, 200_000), st.just("read"), st.just("turn")), max_size=12))
def test_everything_arrives_in_order_whenever_the_reader_makes_room(acts):
    read, write = os.pipe2(os.O_NONBLOCK)
    selector = selectors.EpollSelector()
    pipe = WatchedPipe(read, write, selector, lambda: None)
    wanted, found = bytearray(), bytearray()

    def turn():
        for key, events in selector.select(0):
            call, *arguments = key.data
            call(*arguments, events)

    for i, act in enumerate(acts):
        if act == "read":
            found += pipe.read() or b""
        elif act == "turn":
            turn()
        else:
            wanted += bytes([i]) * act
            pipe.write(bytes([i]) * act)
        assert bool(pipe.unsent) == (write in selector.get_map())
    while len(found) < len(wanted):
        turn()
        found += pipe.read() or b""
    assert found == wanted
    selector.close()
    os.close(read)
    os.close(write)


def test_data_for_a_closed_pipe_is_dropped():
    read, write = os.pipe2(os.O_NONBLOCK)
    selector = selectors.EpollSelector()
    pipe = WatchedPipe(read, write, selector, lambda: None)
    pipe.write(bytes(200_000))
    os.close(read)
    pipe.write(b"x")
    assert not pipe.unsent and not selector.get_map()
    selector.close()
    os.close(write)
