import pytest

from cmpi._core.protocol import authentication
from cmpi.errors import ProtocolError

A, B = b"a" * 16, b"b" * 16


def test_two_ends_that_know_the_secret_accept_each_other():
    server, client = authentication.Server(b"secret", A), authentication.Client(b"secret", B)
    client.check(server.check(client.answer(server.greeting)))


def test_a_client_without_the_secret_is_refused():
    server, client = authentication.Server(b"secret", A), authentication.Client(b"guess", B)
    with pytest.raises(ProtocolError):
        server.check(client.answer(server.greeting))


def test_a_server_without_the_secret_is_refused():
    client = authentication.Client(b"secret", B)
    client.answer(authentication.Server(b"guess", A).greeting)
    with pytest.raises(ProtocolError):
        client.check(b"x" * authentication.PROOF_BYTES)


def test_a_recorded_answer_does_not_open_another_connection():
    answer = authentication.Client(b"secret", B).answer(authentication.Server(b"secret", A).greeting)
    with pytest.raises(ProtocolError):
        authentication.Server(b"secret", b"c" * 16).check(answer)


def test_a_servers_own_proof_sent_back_is_no_answer():
    server = authentication.Server(b"secret", A)
    client = authentication.Client(b"secret", A)
    proof = server.check(client.answer(server.greeting))
    with pytest.raises(ProtocolError):
        server.check(A + proof)


def test_a_proof_for_another_service_is_refused():
    with pytest.raises(ProtocolError):
        authentication.Client(b"secret", B).answer(b"SSH-2.0-OpenSSH_9.2p1 D\n")
