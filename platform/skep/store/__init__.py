"""The embedded engine's server: the one writer of queue.db, behind a unix socket."""
