"""The metrics of all workers and of the supervisor itself."""
