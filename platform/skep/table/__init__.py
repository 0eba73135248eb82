"""Shared tables."""
