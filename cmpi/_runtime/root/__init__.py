"""Runs once per job: the root with its helper rank, and their counterparts on other hosts."""
