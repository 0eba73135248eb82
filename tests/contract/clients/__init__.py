"""Clients that others wrote, against our config server."""
