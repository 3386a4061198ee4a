"""The error of the local stack."""

from __future__ import annotations


class LocalStackError(Exception):
    """The local stack cannot start or do something; the message says what to do."""
