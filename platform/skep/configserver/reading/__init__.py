"""What clients read: configurations in force, news of them, and which instance runs what."""
