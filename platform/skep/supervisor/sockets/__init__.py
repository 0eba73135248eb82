"""The listening sockets: bound here, passed to workers and to the next supervisor."""
