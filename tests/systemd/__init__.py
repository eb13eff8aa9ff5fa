"""The service under a real systemd: see `python -m tests.systemd`."""
