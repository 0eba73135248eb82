"""How many workers there are, and when a worker is replaced for its age."""
