"""Serve WebSockets, and reach them from other processes."""
