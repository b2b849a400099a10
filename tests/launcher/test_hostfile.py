import pathlib

import pytest

from cmpi.errors import UsageError
from cmpi.launcher.hosts.hostfile import HostSpec, parse_file, parse_list

GIB = 1 << 30
EXAMPLES = sorted((pathlib.Path(__file__).parents[2] / "hostfiles").glob("*"))


def test_the_forms_of_both_mpis_and_our_settings():
    text = """
    # a lab
    a slots=4 max_slots=8   # eight if need be
    b:4
    me@c slots=2 cpus=1.5 mem=16GiB workdir=/data/me python=/opt/py/bin/python3
    d max-slots=2
    [fe80::1]:2
    """
    assert parse_file(text, "f") == [
        HostSpec("a", "a", 4, 8),
        HostSpec("b", "b", 4),
        HostSpec("c", "me@c", 2, 0, 98304, 16 * GIB, "/data/me", "/opt/py/bin/python3"),
        HostSpec("d", "d", 0, 2),
        HostSpec("fe80::1", "fe80::1", 2),
    ]
    assert parse_list("a:4,me@b") == [HostSpec("a", "a", 4), HostSpec("b", "me@b")]


def test_ranges_bytes_of_other_systems_and_addresses():
    text = "\ufeffme@n[08-10].lab slots=2\r\nr[1,3]n[1-2]:4\r\n[fe80::1%eth0]:2\r\n"
    assert [(h.target, h.slots) for h in parse_file(text, "f")] == [
        ("me@n08.lab", 2),
        ("me@n09.lab", 2),
        ("me@n10.lab", 2),
        ("r1n1", 4),
        ("r1n2", 4),
        ("r3n1", 4),
        ("r3n2", 4),
        ("fe80::1%eth0", 2),
    ]
    assert [h.name for h in parse_list("a,n[1-2,5]:3,b")] == ["a", "n1", "n2", "n5", "b"]


def test_a_host_named_twice_has_the_slots_of_both():
    assert parse_list("a:2,b,a:3,b") == [HostSpec("a", "a", 5), HostSpec("b", "b", 2)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a slots=0", "slots must be a number, 1 or more"),
        ("a:x", "slots must be a number, 1 or more"),
        ("a slots", "unknown setting 'slots'"),
        ("a sluts=3", "unknown setting 'sluts=3'; the settings are slots, max_slots"),
        ("a:2 slots=2", "slots is given twice"),
        ("a slots=4 max_slots=2", "slots=4 is more than max_slots=2"),
        ("slots=4", "a line begins with a host name"),
        ("fe80::1", "needs brackets, as in [fe80::1] or [fe80::1]:4"),
        ("n[4-1]", "the range 4-1 must ascend"),
        ("n[1-999999999]", "the range 1-999999999 must ascend"),
        ("-oProxyCommand=evil", "a line begins with a host name"),
        ("a mem=lots", "lots"),
    ],
)
def test_a_wrong_line_is_named_with_file_line_and_what_is_accepted(line, complaint):
    with pytest.raises(UsageError) as error:
        parse_file(f"good\n\n{line}\n", "lab.hosts")
    text = str(error.value)
    assert text.startswith("lab.hosts:3: ") and complaint in text and repr(line) in text
    assert "node1 slots=4 max_slots=8" in text


@pytest.mark.parametrize("text", ["", "a,,b", "a:0", "a b", ",", "-x"])
def test_a_wrong_list_is_refused(text):
    with pytest.raises(UsageError):
        parse_list(text)


def test_an_empty_file_is_refused():
    with pytest.raises(UsageError, match="names no host"):
        parse_file("# nothing\n", "f")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_can_be_read(path):
    assert parse_file(path.read_text(), path.name)


def test_a_wrong_host_option_is_shown_with_what_is_expected():
    with pytest.raises(UsageError) as error:
        parse_list("a:x,b")
    assert str(error.value) == (
        "--host a:x,b: slots must be a number, 1 or more. Expected hosts such as a:4,b:4"
    )
