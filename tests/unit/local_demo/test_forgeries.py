"""Every forgery is what it says: the engine's own verification refuses it for exactly that reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
import pytest
from plaid_sync.core.webhooks.verification import RejectedError, VerificationKey, key_id_of, verify

from local.demo.forgeries import Forgery, forgeries_of, invented_keys
from local.plaid import Attempt, Delivery, PlaidError, PlaidSimulator
from local.plaid.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

BODY = encode({"item_id": "A", "webhook_code": "SYNC_UPDATES_AVAILABLE", "webhook_type": "TRANSACTIONS"})


def reason_of(plaid: PlaidSimulator, forgery: Forgery) -> str:
    """Return why the engine refuses it, with the keys that Plaid has."""
    with pytest.raises(RejectedError) as refusal:
        verify(forgery.body, forgery.token, _keys(plaid, forgery), datetime.now(UTC))
    return refusal.value.reason


def _keys(plaid: PlaidSimulator, forgery: Forgery) -> dict[str, VerificationKey]:
    key_id = key_id_of(forgery.token)
    try:
        jwk = plaid.keys.public(key_id)
    except PlaidError:
        return {}
    expired = jwk["expired_at"] and datetime.fromtimestamp(jwk["expired_at"], UTC)
    return {key_id: VerificationKey(key_id, jwt.PyJWK.from_dict(jwk, algorithm="ES256").key, expired)}


def genuine(plaid: PlaidSimulator) -> Delivery:
    now = datetime.now(UTC) - timedelta(seconds=1)
    token = plaid.sign(BODY, now)
    return Delivery(0, "http://127.0.0.1", {}, BODY, now, attempts=[Attempt(now, token, 200)])


def reasons(plaid: PlaidSimulator, forgeries: Iterable[Forgery]) -> list[tuple[str, str]]:
    return [(forgery.reason, reason_of(plaid, forgery)) for forgery in forgeries]


def test_every_forgery_is_refused_for_its_reason() -> None:
    plaid = PlaidSimulator()
    pairs = reasons(plaid, forgeries_of(plaid, genuine(plaid)))
    assert [actual for _, actual in pairs] == [expected for expected, _ in pairs]
    assert len(pairs) == 11


def test_invented_keys_are_all_different_and_unknown() -> None:
    plaid = PlaidSimulator()
    forgeries = list(invented_keys(plaid, genuine(plaid), 5))
    assert len({key_id_of(forgery.token) for forgery in forgeries}) == 5
    assert {reason for pair in reasons(plaid, forgeries) for reason in pair} == {"unknown_key"}
