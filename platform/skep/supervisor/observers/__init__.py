"""What watches the supervisor: logs, counters, events, hooks, the service manager."""
