"""The platform's own settings: one table of rows, and what is derived from it."""
