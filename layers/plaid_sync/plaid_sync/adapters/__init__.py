"""Translations between the ports and AWS or Plaid. The only code that knows either."""
