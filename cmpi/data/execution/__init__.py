"""How plans run: tasks on a pool, shuffles, spills."""
