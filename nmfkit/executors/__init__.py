"""Places to run sweeps: threads in this process."""
