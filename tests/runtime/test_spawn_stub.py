"""What MPI starts gives its environment to the fork server, and to nobody who only listens in its place."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest

from cmpi._core.protocol import authentication
from cmpi._runtime import environment as environments
from cmpi._runtime.monitor import spawn_stub
from cmpi._transport import door, job_secret


class Listener:
    """At the fork server's address: greets, answers a stub with some bytes, and keeps what it is sent."""

    def __init__(self, folder, answer):
        self.heard, self.fds = b"", []
        self._answer = answer
        self._server = door.listen(f"{folder}/fork")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with socket.socket(fileno=self._server._accept()[0]) as sock:
            sock.sendall(authentication.MAGIC + bytes(authentication.NONCE_BYTES))
            while len(self.heard) < authentication.ANSWER_BYTES:
                self.heard += sock.recv(authentication.ANSWER_BYTES - len(self.heard))
            sock.sendall(self._answer(self.heard))
            data = b"more"
            while data:
                data, fds, _, _ = socket.recv_fds(sock, 65536, 8)
                self.fds += fds
                if data and len(self.heard) == authentication.ANSWER_BYTES:
                    sock.sendall(b"f")
                    sock.shutdown(socket.SHUT_WR)
                self.heard += data

    def close(self):
        self._thread.join()
        self._server.close()
        for fd in self.fds:
            os.close(fd)


def by_script(folder, monkeypatch):
    """The last byte that the stub got from the fork server."""
    monkeypatch.setattr(spawn_stub.signal, "signal", lambda *_: None)
    return spawn_stub.hand_over("7", f"{folder}/fork")


def by_program(folder, monkeypatch):
    """The same of the compiled stub, which becomes the script unless that byte is b"f"."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    source = pathlib.Path(spawn_stub.__file__).parent / "spawn_stub.c"
    if not source.exists():
        pytest.skip("cmpi is installed without its sources")
    stub, python = folder / "stub", folder / "python"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", stub, source], check=True)
    python.write_text('#!/bin/sh\nprintf %s "$*"\n')
    python.chmod(0o700)
    environment = os.environ | {environments.JOB: str(folder)}
    command = [stub, python, "script", "7", f"{folder}/fork"]
    with open(folder / "output", "w") as output:  # a pipe would stay open in the listener
        subprocess.run(command, env=environment, timeout=20, check=True, stdout=output, stderr=output)
    became = (folder / "output").read_text()
    assert became in ("", "-I -S script 7")
    assert len(list(folder.glob("*.pid"))) == (1 if became else 0), "the file is removed with the stub"
    return b"" if became else b"f"


@pytest.mark.parametrize("stub", [by_script, by_program])
@pytest.mark.parametrize("knows", [True, False], ids=["the fork server", "an impostor"])
def test_a_stub_gives_nothing_to_a_listener_that_has_not_proved_itself(tmp_path, monkeypatch, knows, stub):
    secret = job_secret.create(str(tmp_path))
    key = bytes(secret.key) if knows else bytes(32)
    secret.forget()

    def answer(said):
        nonces = said[: authentication.NONCE_BYTES], bytes(authentication.NONCE_BYTES)
        return authentication._proof(key, b"server", *nonces)

    listener = Listener(tmp_path, answer)
    assert stub(tmp_path, monkeypatch) == (b"f" if knows else b"")
    listener.close()
    assert (len(listener.heard) > authentication.ANSWER_BYTES) == knows and bool(listener.fds) == knows
    assert (b"PATH=" in listener.heard) == knows
