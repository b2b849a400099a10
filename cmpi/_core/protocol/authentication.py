"""Both ends of a control connection prove that they know the job's secret.

    server: MAGIC, nonce_s            client: nonce_c, proof("client", nonce_s, nonce_c)
    server: proof("server", nonce_c, nonce_s)         then frames, in both directions

A proof is keyed BLAKE2b, with a purpose in it, so that neither end's proof can be replayed as the
other's nor in another connection. Nothing else is read before it has been checked.
Source: ISO/IEC 9798-4, three-pass mutual authentication; RFC 7693 (BLAKE2, keyed).
"""

from __future__ import annotations

from _blake2 import blake2b  # hashlib would load OpenSSL: 10 ms in every monitor
from _operator import _compare_digest

from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Key: TypeAlias = bytes | memoryview  # the shared secret; a view, so that no copy of it is left behind

MAGIC = b"cmpi/1\r\n"
NONCE_BYTES = 16
PROOF_BYTES = 32
GREETING_BYTES = len(MAGIC) + NONCE_BYTES
ANSWER_BYTES = NONCE_BYTES + PROOF_BYTES


def _proof(secret: Key, who: bytes, first: bytes, second: bytes) -> bytes:
    return blake2b(first + second, key=secret, person=who, digest_size=PROOF_BYTES).digest()


class Server:
    """The accepting side. Feed it `ANSWER_BYTES`, once."""

    def __init__(self, secret: Key, nonce: bytes) -> None:
        self._secret, self._nonce = secret, nonce
        self.greeting = MAGIC + nonce

    def check(self, answer: bytes) -> bytes:
        """Verify the client; return the bytes that prove the server's identity.

        Raises:
            ProtocolError: The client does not know the secret.
        """
        nonce, proof = answer[:NONCE_BYTES], answer[NONCE_BYTES:]
        if not _compare_digest(proof, _proof(self._secret, b"client", self._nonce, nonce)):
            raise ProtocolError("the client does not know the job's secret")
        return _proof(self._secret, b"server", nonce, self._nonce)


class Client:
    """The connecting side."""

    def __init__(self, secret: Key, nonce: bytes) -> None:
        self._secret, self._nonce = secret, nonce
        self._theirs = b""

    def answer(self, greeting: bytes) -> bytes:
        """Return the answer to a server's greeting.

        Raises:
            ProtocolError: This is not the greeting of a cmpi server.
        """
        if greeting[: len(MAGIC)] != MAGIC or len(greeting) != GREETING_BYTES:
            raise ProtocolError("a program other than cmpi listens at this address")
        self._theirs = greeting[len(MAGIC) :]
        return self._nonce + _proof(self._secret, b"client", self._theirs, self._nonce)

    def check(self, proof: bytes) -> None:
        """Verify the server.

        Raises:
            ProtocolError: The server does not know the secret.
        """
        if not _compare_digest(proof, _proof(self._secret, b"server", self._nonce, self._theirs)):
            raise ProtocolError("the server does not know the job's secret")
