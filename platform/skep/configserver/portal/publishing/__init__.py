"""Pages about publishing: what differs, who asked for it, and the rules."""
