"""Pulling updates from Plaid, for the sync and for the audit."""
