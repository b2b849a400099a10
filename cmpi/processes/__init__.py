"""Processes: `spawn`, `wait`, `kill`, links and monitors, supervisors, deadlines."""
