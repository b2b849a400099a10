"""The folders of deployed programs on the other hosts of a job: `CopiedFolders`."""

import os
import tempfile
from types import SimpleNamespace

import pytest

from cmpi._core.protocol.command_launcher import AskLacking, CopyFolder, FolderCopied, Lacking
from cmpi.errors import ProtocolError
from cmpi.launcher.hosts.copied_folders import CopiedFolders

THERE = "/job/ship-1"


class Host:
    """A host whose answers the test gives."""

    def __init__(self, name):
        self.spec, self.asked = SimpleNamespace(name=name), []

    def look(self, program, take):
        self.asked.append((program, take))

    def copy(self, pieces, take):
        self.asked.append((b"".join(piece.data for piece in pieces), take))

    def answer(self, expected, answer):
        what, take = self.asked.pop(0)
        assert what == expected
        take(answer)


class Stream:
    """A connection with a deploying cmpirun."""

    def __init__(self, text=None):
        self.sent = []
        if text is not None:
            self.archive = tempfile.TemporaryFile()  # noqa: SIM115
            self.archive.write(text)
            self.archive.flush()

    def send(self, frame):
        self.sent.append(frame)

    def descriptors(self):
        if not hasattr(self, "archive"):
            return []
        with self.archive as archive:
            del self.archive
            return [os.dup(archive.fileno())]


@pytest.fixture
def agents():
    removed = []

    def run(name, argv, settings, said, ended):
        assert argv == ["rm", "-rf", THERE]
        removed.append(name)

    return SimpleNamespace(up=[Host("a"), Host("b")], run=run, removed=removed)


def frame(*hosts, program="job.py", keep=False):
    return CopyFolder(list(hosts), program, THERE, keep)


def test_the_hosts_that_lack_a_program_are_told_once_all_have_answered(agents):
    (a, b), folders, stream = agents.up, CopiedFolders(agents), Stream()
    folders.tell_lacking(stream, AskLacking("job.py"))
    b.answer("job.py", False)
    assert stream.sent == []
    a.answer("job.py", True)
    folders.tell_lacking(stream, AskLacking(""))
    agents.up = []
    folders.tell_lacking(stream, AskLacking("job.py"))
    assert stream.sent == [Lacking(["b"]), Lacking(["a", "b"]), Lacking([])]


def test_a_copy_is_removed_when_its_connection_ends_but_not_while_it_is_sent(agents):
    (a, b), folders, stream = agents.up, CopiedFolders(agents), Stream(b"archive")
    folders.copy(stream, frame("a", "b"))
    b.answer(b"archive", "no space")
    folders.closed(stream)
    assert not agents.removed and stream.sent == []
    a.answer(b"archive", "")
    assert stream.sent == [FolderCopied(["b: no space"])] and agents.removed == ["a", "b"]
    folders.closed(stream)
    folders.close()
    assert agents.removed == ["a", "b"]


@pytest.mark.parametrize("program", ["job.py", ""])
def test_a_host_that_returns_gets_what_it_lacks_before_it_is_used(agents, capfd, program):
    folders, kept, other = CopiedFolders(agents), Stream(b"kept"), Stream(b"other")
    folders.copy(kept, frame(program=program, keep=True))
    folders.copy(other, frame())
    folders.closed(kept)
    host, used = Host("c"), []
    folders.provide(host, lambda: used.append(1))
    if program:
        host.answer("job.py", False)
        host.answer("job.py", True)
    else:
        host.asked.reverse()
        host.answer("job.py", True)
    assert not used
    host.answer(b"kept", "no space")
    assert used == [1] and capfd.readouterr().err == "cmpirun: c: no space\n" and not agents.removed
    folders.close()


def test_a_copy_needs_its_archive(agents):
    folders = CopiedFolders(agents)
    with pytest.raises(ProtocolError, match="one descriptor"):
        folders.copy(Stream(), frame("a"))
    folders.provide(Host("c"), lambda: None)
