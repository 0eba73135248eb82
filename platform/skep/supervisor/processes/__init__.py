"""The child processes: slots, crews, zygotes, the nursery, and why a process ended."""
