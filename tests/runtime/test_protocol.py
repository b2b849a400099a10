"""Which process may send which frame: each frame has one number, one module and at least one receiver."""

from unittest.mock import Mock

import pytest

from cmpi._core.job.job import JobMachine
from cmpi._core.protocol import monitor_root, process_process, process_root, process_root_waits, wire
from cmpi._runtime.process.root_frames import RootFrames
from cmpi.errors import ProtocolError
from tests.core.frames import ALL, MODULES, REGISTRIES


def test_there_is_a_registry_for_each_direction_of_each_pair():
    assert len(REGISTRIES) >= 20 and len(ALL) > 90


def test_a_number_means_one_frame_in_every_registry():
    for name, registry in REGISTRIES.items():
        for number, cls in registry.items():
            assert ALL[number] is cls and number == cls.NUMBER, (name, number)
    assert len(set(ALL.values())) == len(ALL), "and a frame has one number"


def test_every_frame_has_a_receiver():
    frames = {it for module in MODULES for it in vars(module).values() if hasattr(it, "LAYOUT")}
    assert frames == set(ALL.values())


def test_a_second_number_for_a_frame_is_refused():
    with pytest.raises(AssertionError, match="Output is frame 11, not 250"):
        wire.registry({250: monitor_root.Output})


@pytest.mark.parametrize("number", [0, 200, process_process.Fin.NUMBER])
def test_a_frame_that_the_receiver_does_not_expect_is_an_error_that_names_those_that_it_does(number):
    with pytest.raises(ProtocolError, match=f"frame {number} came where .*StartProcess"):
        wire.decode(bytes((number, 0, 0, 0, 0)), monitor_root.TO_MONITOR)


def test_a_frame_without_a_handler_is_an_error():
    handlers = {monitor_root.Output: print, monitor_root.StdinTaken: print}
    assert wire.handler(handlers, monitor_root.StdinTaken(1)) is print
    with pytest.raises(ProtocolError, match=r"Dismiss came where .*: Output, StdinTaken"):
        wire.handler(handlers, monitor_root.Dismiss())


def test_a_frame_of_many_fields_is_made_with_their_names():
    with pytest.raises(TypeError):
        process_root.Ended(1, 0, 0, "", False)


def test_the_root_has_a_handler_for_every_frame_that_a_process_may_send():
    asks_of_waits = set(process_root_waits.TO_ROOT.values())  # the root itself handles these
    assert JobMachine([]).heard_from_rank | asks_of_waits == set(process_root.TO_ROOT.values())


def test_a_process_has_a_handler_for_every_frame_that_the_root_may_send_after_its_welcome():
    heard = RootFrames(*[Mock()] * 9).heard
    assert heard | {process_root.Welcome} == set(process_root.TO_PROCESS.values())
