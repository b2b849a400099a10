"""Code that runs in each process of the user's program: the node, its connections, its channel ends."""
