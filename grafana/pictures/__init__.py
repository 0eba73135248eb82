"""Draws the dashboards from what a Prometheus knows, for people who have no Grafana yet."""
