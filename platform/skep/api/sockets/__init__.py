"""Sockets of plugins: TCP, UDP and HTTP listeners, WebSockets and pushing to them."""
