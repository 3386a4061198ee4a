"""Draws the deployed dashboard from the local stack's metrics: `make dashboard`, `python -m local.dashboard --help`."""
