"""`platform top`: a live view of the running platform in the terminal."""
