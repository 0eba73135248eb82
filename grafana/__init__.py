"""Dashboards, rules and a stack to look at them; `generator` writes the dashboards."""
