"""Every command of every document is executed."""
