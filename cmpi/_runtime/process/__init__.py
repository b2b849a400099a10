"""Runs in each process of a person's program: the node, its connections and the ends of its channels."""
