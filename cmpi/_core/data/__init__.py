"""Decisions of parallel streams: plans, their optimiser, steps, splits and the shuffle's hash. Pure."""
