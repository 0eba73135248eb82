"""The file queue.db: its format, and what is done when it is damaged."""
