"""Jobs on several hosts: hostfiles, ssh, the agent on each host, and copying the program there."""
