"""Decides when to ask a scheduler that may not answer, and when to tell the user. Pure; time is an
input."""

from __future__ import annotations

POLL_S = 1.0  # between two questions, if they are answered
LONGEST_S = 30.0  # the most between two questions, if they are not answered
ANSWER_S = 10.0  # how long to wait for the first answer before the command is killed
LONGEST_ANSWER_S = 60.0  # the most; each missing answer doubles the limit, for a busy controller is slow


class Patience:
    """The timing of questions: regular while they are answered; otherwise rarer, with longer limits."""

    def __init__(self) -> None:
        self.due_s = float("-inf")
        self.limit_s = ANSWER_S
        self.silent = False
        self._pause_s = POLL_S

    def answered(self, now_s: float) -> str:
        """Note an answer. Returns what to tell the user, or ""."""
        was_silent, self.silent = self.silent, False
        self._pause_s, self.limit_s = POLL_S, ANSWER_S
        self.due_s = now_s + POLL_S
        return "Slurm answers again" if was_silent else ""

    def unanswered(self, why: str, now_s: float) -> str:
        """Note that no answer came in time. Returns what to tell the user, or ""."""
        was_silent, self.silent = self.silent, True
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        self.limit_s = min(2 * self.limit_s, LONGEST_ANSWER_S)
        self.due_s = now_s + self._pause_s
        if was_silent:
            return ""
        return f"Slurm does not answer ({why}); its output is still shown, and Slurm is asked again"
