"""Decisions of a job's root: processes, starts, connections, ends, deadlocks, the closing report. Pure."""
