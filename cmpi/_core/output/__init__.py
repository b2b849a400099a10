"""The forms of a job's output: plain, with names, in JSON, in files and on a terminal. Pure."""
