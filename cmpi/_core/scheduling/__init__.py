"""Decisions about the room on hosts: which request starts where, and when. Pure."""
