"""The environment: `.env`, its layers, and the settings classes of plugins."""
