"""Jobs on several hosts: hostfiles, ssh, an agent on each host, staging of files."""
