"""The agent slot: config sync, code watch, and the console on the admin port."""
