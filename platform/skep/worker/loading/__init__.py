"""Load the plugins of one state of the code, and check what they declare."""
