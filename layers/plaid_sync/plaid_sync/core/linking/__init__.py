"""From a link session to a registered Item."""
