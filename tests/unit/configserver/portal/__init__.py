"""The portal over a real socket, by pages without a script."""
