"""The control socket: its server and the commands behind it."""
