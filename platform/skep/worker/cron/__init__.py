"""When a cron is due."""
