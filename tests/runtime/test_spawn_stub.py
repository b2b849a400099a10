"""What MPI starts gives its environment to the fork server, and to nobody who only listens in its place."""

import os
import socket
import threading

import pytest

from cmpi._core.protocol import authentication
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


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the stub's end closes its socket
@pytest.mark.parametrize("knows", [True, False], ids=["the fork server", "an impostor"])
def test_a_stub_gives_nothing_to_a_listener_that_has_not_proved_itself(tmp_path, monkeypatch, knows):
    monkeypatch.setattr(spawn_stub.signal, "signal", lambda *_: None)
    secret = job_secret.create(str(tmp_path))
    key = bytes(secret.key) if knows else bytes(32)
    secret.forget()

    def answer(said):
        nonces = said[: authentication.NONCE_BYTES], bytes(authentication.NONCE_BYTES)
        return authentication._proof(key, b"server", *nonces)

    listener = Listener(tmp_path, answer)
    assert spawn_stub.hand_over("7", f"{tmp_path}/fork") == (b"f" if knows else b"")
    listener.close()
    assert (len(listener.heard) > authentication.ANSWER_BYTES) == knows and bool(listener.fds) == knows
    assert (b"PATH=" in listener.heard) == knows
