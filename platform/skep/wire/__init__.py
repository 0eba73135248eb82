"""The messages between processes, and the channels that carry them."""
