"""What can go wrong while the local stack comes up, always with the way out."""

from __future__ import annotations


class LocalStackError(Exception):
    """The local stack cannot come up; the message says what to do about it."""
