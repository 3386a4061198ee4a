"""A handler that does nothing: what Python and the runtime client cost."""

from typing import Any


def lambda_handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Do nothing."""
    return {}
