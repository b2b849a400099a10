"""The protocol between the processes of a job: frames, their encoding, and authentication. Pure."""
