"""Why there are no containers."""

from __future__ import annotations


class NoContainerEngineError(Exception):
    """No container can be run here; the message says why, on one line."""
