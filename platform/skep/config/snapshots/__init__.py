"""Released configurations: as documents, on the disk, and in history."""
