"""Messages from any process to the custom processes of a platform: the kernel carries them, and no
other process does."""
