"""The Open API, which scripts and the official SDK write with."""
