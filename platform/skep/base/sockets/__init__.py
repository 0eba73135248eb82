"""Listening sockets: addresses, TLS, and who connects."""
