"""skep: resident Python workers that follow a config service."""
