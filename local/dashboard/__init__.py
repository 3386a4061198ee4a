"""Draws the deployed dashboard with the local stack's metrics, as a page and as a picture: `make dashboard`."""
