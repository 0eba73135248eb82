"""The schedule slot: runs the commands of a crontab file by the clock."""
