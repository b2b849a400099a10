"""What parallel streams decide: plans, their optimiser, steps, splits and the hash of a shuffle. Pure."""
