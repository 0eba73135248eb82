"""The configuration of a generation: how it is loaded, checked, applied and recorded."""
