"""Receiving Plaid's webhooks."""
