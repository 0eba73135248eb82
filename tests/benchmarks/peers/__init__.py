"""Task queues of others, measured in the same run as ours: `python -m tests.benchmarks peers`."""
