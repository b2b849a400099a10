"""Typed channels: `Sender`, `Receiver`, `select`, and byte files over them."""
