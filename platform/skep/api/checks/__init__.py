"""What the platform requires of the fields of a Plugin."""
