"""Code that runs beside each process: its monitor, and the fork server and stub that start both."""
