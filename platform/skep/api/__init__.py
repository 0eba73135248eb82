"""What plugin authors subclass and call: declarations, no machinery."""
