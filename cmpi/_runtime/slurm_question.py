"""Runs Slurm's own commands, which hang when Slurm's controller does."""

from __future__ import annotations

import subprocess
import tempfile
import time

from cmpi._core.slurm.patience import ANSWER_S, Patience
from cmpi.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

LOOK_S = 0.05  # between looks for an answer


class Answer:
    """A command's output, its complaint and its exit code; None if it was killed without an answer."""

    def __init__(self, code: int | None, out: str, complaint: str) -> None:
        self.code, self.out, self.complaint = code, out, complaint


class Question:
    """A running command of Slurm.

    Raises:
        LaunchError: There is no such command, so there is no Slurm here.
    """

    def __init__(self, command: Sequence[str], limit_s: float) -> None:
        self._name, self._limit_s = command[0], limit_s
        self._end_s = time.monotonic() + limit_s
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err
            )
        except FileNotFoundError:
            self._out.close()
            self._err.close()
            raise LaunchError(
                f"no {command[0]} on PATH: this is not a machine of a Slurm cluster. Run on this one "
                "without --slurm, or log in to the cluster first."
            ) from None

    def answer(self) -> Answer | None:
        """The answer, once there is one or the time is up. Blocks: never."""
        code = self._process.poll()
        if code is None:
            if time.monotonic() < self._end_s:
                return None
            self.give_up()
            return Answer(None, "", f"no answer of {self._name} within {self._limit_s:.0f} s")
        return Answer(code, _all(self._out), _all(self._err).strip())

    def give_up(self) -> None:
        """Give up: kill the command."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()


def _all(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


def ask(*command: str, limit_s: float = ANSWER_S) -> Answer:
    """Ask once. Blocks: for the answer, at most `limit_s`. Raises: LaunchError, as `Question`."""
    question = Question(command, limit_s)
    try:
        while (answer := question.answer()) is None:
            time.sleep(LOOK_S)
    except BaseException:  # Ctrl-C
        question.give_up()
        raise
    return answer


class Inquiry:
    """Asks the same question again and again, for as long as it takes; `say` is told when Slurm does not
    answer.

    Attributes:
        silent: Whether the last question had no answer.
    """

    def __init__(self, say: Callable[[str], None], *command: str, understood: Callable[[Answer], bool]):
        self._say, self._command, self._understood = say, command, understood
        self._patience = Patience()
        self._question: Question | None = None

    @property
    def silent(self) -> bool:
        return self._patience.silent

    def answer(self) -> Answer | None:
        """The next answer, once there is one. Blocks: never."""
        now_s = time.monotonic()
        if self._question is None:
            if now_s >= self._patience.due_s:
                self._question = Question(self._command, self._patience.limit_s)
            return None
        answer = self._question.answer()
        if answer is None:
            return None
        self._question = None
        if answer.code is not None and self._understood(answer):
            told = self._patience.answered(now_s)
        else:
            told = self._patience.unanswered(answer.complaint or f"exit code {answer.code}", now_s)
        if told:
            self._say(told)
        return None if self._patience.silent else answer

    def close(self) -> None:
        """Stop asking."""
        if self._question is not None:
            self._question.give_up()
            self._question = None
