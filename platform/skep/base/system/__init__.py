"""What the operating system gives: signals, privileges, stacks, process titles."""
