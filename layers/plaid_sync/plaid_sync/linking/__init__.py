"""Linking: from a link session to a registered Item."""
