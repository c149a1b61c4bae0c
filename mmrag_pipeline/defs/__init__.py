"""Dagster objects only: assets, checks, jobs, sensors, schedules and the wiring of resources. Nothing here computes."""
