"""Rows of the Shared table: what processes share, and can lose.

Key: `kind`, `name`. Attributes: `expires_at` (N, epoch seconds, TTL), and by kind:

- `key`, Plaid's last response about a key id: `fetched_at` (S), `public_key` (B, its coordinates; absent where Plaid
  has no such key), `expired_at` (N, epoch seconds; absent while Plaid signs with it).
- `count`: `number` (N).
- `once`: no more than `expires_at`, until which the name is taken.
- `request`, an Item that a webhook is about whose message the queue refused: `requested_at` (S).
- `invalidation`, an Item whose recurring streams changed: `number` (N, random), which each webhook about
  them replaces.
- `recurring`, the last response about an Item's recurring streams: `digest` (S), `invalidation` (N), `fetched_at` (S),
  `body` (B, compressed), `content_type`, `request_id` (S).
- `lease`, an attempt of an Item whose message the sweep sends: `leased_until` (S).
- `calls`, of an endpoint of Plaid in five seconds: `total` (N), of them those of each class of calls, such as `webhook`
  (N), and `throttled` (N), those that Plaid refused because of its limit.

The kind is the partition key, so that a role's policy can name the kinds that it may use (`dynamodb:LeadingKeys`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import serialize

if TYPE_CHECKING:
    from datetime import datetime

INVALIDATION: Final = "invalidation"
RECURRING: Final = "recurring"


def shared_key(kind: str, name: str) -> dict[str, Any]:
    """Return the key of a row."""
    return {"kind": serialize(kind), "name": serialize(name)}


def epoch_seconds(moment: datetime) -> int:
    """Return epoch seconds, rounded up: a period is not over early."""
    return math.ceil(moment.timestamp())
