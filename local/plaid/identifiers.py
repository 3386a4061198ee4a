"""Identifiers in the shapes that Plaid uses, from a seeded generator."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

# Plaid's ids are case-sensitive and leave out the characters that people confuse.
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ID_LENGTH = 37
_REQUEST_ID_LENGTH = 15


def entity_id(rng: Random) -> str:
    """Return an id for an Item, an account or a transaction."""
    return "".join(rng.choices(_ALPHABET, k=_ID_LENGTH))


def request_id(rng: Random) -> str:
    """Return a request id."""
    return "".join(rng.choices(_ALPHABET, k=_REQUEST_ID_LENGTH))


def uuid4(rng: Random) -> str:
    """Return a random UUID, drawn from the given generator."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
