"""What the computer gives to a run: memory, disk space, processes."""
