"""Writes the dashboards with Grafana's own models, so that mypy checks their options."""
