"""Tests of what the portal shows of values."""
