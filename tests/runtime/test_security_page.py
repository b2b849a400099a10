"""The figures in docs/security.md are those of the code, and the tests that it names exist."""

import pathlib
import re

import pytest

from cmpi._core.protocol import authentication, wire
from cmpi._runtime.process import connector
from cmpi._transport import door, job_secret, proof

ROOT = pathlib.Path(__file__).parents[2]
TEXT = " ".join((ROOT / "docs" / "security.md").read_text().split())


@pytest.mark.parametrize(
    "words",
    [
        f"has {proof.HANDSHAKE_S:g} s for its proof, and {door.CROWDED_S:g} s while others wait",
        f"At most {door.MAX_VISITORS} have not proved themselves",
        f"can occupy its {door.MAX_VISITORS} places",
        f"that has not proved itself, {authentication.ANSWER_BYTES} bytes are read",
        f"the door rests for {door.REST_S:g} s",
        f"until its one connection is made ({connector.SOCKET_S:g} s at most)",
        f"{job_secret.NBYTES} random bytes for each job",
        f"({wire.MAX_FRAME_BYTES >> 20} MiB a frame)",
    ],
)
def test_figures_on_the_security_page_match_the_code(words):
    assert words in TEXT


def test_files_named_on_the_security_page_exist():
    named = set(re.findall(r"`((?:tests|cmpi)/[\w/]+\.py)`", TEXT))
    assert len(named) > 9 and not [name for name in named if not (ROOT / name).exists()]
