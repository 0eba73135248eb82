"""What the admin port answers: health, readiness, metrics."""
