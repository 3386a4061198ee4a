"""Proving that a webhook is Plaid's, and what it asks for."""
