"""Plaid's API."""
