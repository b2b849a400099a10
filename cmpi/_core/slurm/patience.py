"""When to ask a scheduler that may be silent for a while, and when to say so. Pure; time comes in."""

from __future__ import annotations

POLL_S = 1.0  # between two questions that are answered
LONGEST_S = 30.0  # between two that are not
ANSWER_S = 10.0  # for which the first answer is waited for, before the command is killed
LONGEST_ANSWER_S = 60.0  # a busy controller needs longer than the first limit; each silence doubles it


class Patience:
    """The rhythm of questions: steady while they are answered, else rarer and more patient."""

    def __init__(self) -> None:
        self.due_s = float("-inf")
        self.limit_s = ANSWER_S
        self.silent = False
        self._pause_s = POLL_S

    def answered(self, now_s: float) -> str:
        """An answer came. Returns what to tell the user, or ""."""
        was_silent, self.silent = self.silent, False
        self._pause_s, self.limit_s = POLL_S, ANSWER_S
        self.due_s = now_s + POLL_S
        return "Slurm answers again" if was_silent else ""

    def unanswered(self, why: str, now_s: float) -> str:
        """No answer came, in time or at all. Returns what to tell the user, or ""."""
        was_silent, self.silent = self.silent, True
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        self.limit_s = min(2 * self.limit_s, LONGEST_ANSWER_S)
        self.due_s = now_s + self._pause_s
        if was_silent:
            return ""
        return f"Slurm does not answer ({why}); its output is still shown, and Slurm is asked again"
