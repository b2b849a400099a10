"""What the processes of a job say to each other: frames, their bytes, and proof of the sender. Pure."""
