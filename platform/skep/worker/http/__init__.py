"""Serve HTTP: protocols, limits, middleware, and the application of all plugins."""
