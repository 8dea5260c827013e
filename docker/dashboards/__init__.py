"""Dashboards and alert rules for Grafana, made from one description for each of the two databases."""
