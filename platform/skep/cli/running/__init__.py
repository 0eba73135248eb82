"""Verbs about the running platform and its processes."""
