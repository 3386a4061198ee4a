"""Draws the deployed dashboard with the local stack's metrics, as a picture: `make dashboard`."""
