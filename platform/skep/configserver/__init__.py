"""The embedded Apollo-compatible config server."""
