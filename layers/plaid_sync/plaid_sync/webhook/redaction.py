"""What is stored and published of a webhook's body: no token, no secret, and not more than a bus event can hold."""

from __future__ import annotations

import re
from typing import Any, Final

from plaid_sync.domain import exact_json

REDACTED: Final = "[redacted]"
MAX_BODY_BYTES: Final = 100_000
"""Of the members that are kept, as JSON: an event can have 256 KB, and a message of the failed-events queue, too."""
_MAX_LEVELS: Final = 50
_TOKEN: Final = re.compile(
    # Plaid's tokens name their environment; a text that begins like a token is taken for one.
    # The search begins where a word does: at each letter, it would take quadratic time, or seconds for a large body.
    r"(?<![a-z_])[a-z_]+-(?:sandbox|development|production)-[\w-]+|^(?:access|public|link|processor)-\S+",
    re.IGNORECASE,
)
_SECRET_NAME: Final = re.compile("(?:token|secret|password|credential)s?$", re.IGNORECASE)


def redact(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without tokens and secrets; what is nested too deeply is redacted, too."""
    return {_without_tokens(name): _redact_member(name, value, _MAX_LEVELS) for name, value in body.items()}


def fit(body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return as many members as fit, the smallest first, and the names of the others."""
    sizes = {name: len(exact_json.dumps({name: value}, ascii_only=True)) for name, value in body.items()}
    kept, room = set(), MAX_BODY_BYTES
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        room -= sizes[name]
        if room < 0:
            break
        kept.add(name)
    return {name: value for name, value in body.items() if name in kept}, sorted(body.keys() - kept)


def _redact_member(name: str, value: object, levels: int) -> object:
    if _SECRET_NAME.search(name) and value is not None:
        return REDACTED
    return _redact_value(value, levels)


def _redact_value(value: object, levels: int) -> object:
    if isinstance(value, str):
        return _without_tokens(value)
    if not isinstance(value, list | dict):
        return value
    if levels == 0:
        return REDACTED
    if isinstance(value, list):
        return [_redact_value(entry, levels - 1) for entry in value]
    return {_without_tokens(name): _redact_member(name, member, levels - 1) for name, member in value.items()}


def _without_tokens(text: str) -> str:
    """Return a text without tokens, and without half surrogate pairs, which no event can have."""
    return _TOKEN.sub(REDACTED, text).encode(errors="replace").decode()
