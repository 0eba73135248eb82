"""What each kind of worker does; strangers to each other."""
