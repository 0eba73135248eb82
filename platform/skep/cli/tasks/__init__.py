"""Verbs about deliveries, dead letters and queues."""
