"""What a worker measures of itself: age, memory, readiness, leaks."""
