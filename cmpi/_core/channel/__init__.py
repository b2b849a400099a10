"""Decisions of the two ends of a channel: contracts, credit, closing, memory for large payloads. Pure."""
