"""The smallest plugin: one route, one setting."""
