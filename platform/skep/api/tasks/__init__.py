"""Tasks, events, listeners, and what a delivery of them is."""
