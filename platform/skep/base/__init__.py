"""What every room may use: errors, logs, telemetry, waiting, the data directory."""
