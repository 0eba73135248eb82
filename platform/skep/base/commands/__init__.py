"""External commands: what is run, the guard that is their parent, their output in the log."""
