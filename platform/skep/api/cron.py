"""Crons: what runs by the clock."""


class CronJob:
    """Something that runs by the clock."""
