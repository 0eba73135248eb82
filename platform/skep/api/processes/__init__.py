"""Custom processes: the author's side."""
