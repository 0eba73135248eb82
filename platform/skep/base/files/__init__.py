"""Locks, owners and digests of files."""
