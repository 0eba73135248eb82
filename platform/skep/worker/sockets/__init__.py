"""TCP and UDP listeners that plugins declare."""
