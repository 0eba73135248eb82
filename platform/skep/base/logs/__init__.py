"""Log lines: their schema, their file, their fields, and masked secrets."""
