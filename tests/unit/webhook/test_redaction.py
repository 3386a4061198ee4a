"""What is published of a webhook: everything that an application can use, and nothing that gives access."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.domain import exact_json
from plaid_sync.webhook.redaction import MAX_BODY_BYTES, REDACTED, fit, redact

TOKEN = "access-sandbox-8ab976e6-64bc-4b38-98f7-731e7a349970"


@pytest.mark.parametrize(
    "text", [TOKEN, "public-production-1f", "link-sandbox-1f", "processor-development-1f", f"{'x' * 40}-sandbox-1f"]
)
def test_a_token_is_redacted_wherever_it_is(text: str) -> None:
    body: dict[str, Any] = {
        "note": f"see {text}, please",
        "list": [[text], {"deep": {"deeper": text}}],
        "new_webhook_url": f"https://app.example/hook?of={text}&x=1",
        text: "a name",
    }
    assert redact(body) == {
        "note": f"see {REDACTED}, please",
        "list": [[REDACTED], {"deep": {"deeper": REDACTED}}],
        "new_webhook_url": f"https://app.example/hook?of={REDACTED}&x=1",
        REDACTED: "a name",
    }


@pytest.mark.parametrize("text", ["access-1", "public-token", "link-1f2e", "processor-1f"])
def test_a_text_that_begins_like_a_token_is_taken_for_one(text: str) -> None:
    assert redact({"a": text, "b": f"the {text}"}) == {"a": REDACTED, "b": f"the {text}"}


@pytest.mark.parametrize(
    "name", ["public_token", "public_tokens", "user_token", "Secret", "client_secrets", "password"]
)
@pytest.mark.parametrize("value", ["opaque", ["opaque"], {"a": "opaque"}, 1234, 0, True], ids=str)
def test_a_member_that_is_named_a_secret_is_redacted(name: str, value: object) -> None:
    assert redact({name: value, "in": [{name: value}]}) == {name: REDACTED, "in": [{name: REDACTED}]}
    assert redact({name: None}) == {name: None}


def test_everything_else_is_kept() -> None:
    body = {
        "webhook_type": "HOLDINGS",
        "webhook_code": "DEFAULT_UPDATE",
        "item_id": "wz666MBjYWTp2PDzzggYhM6oWWmBb",
        "environment": "production",
        "link_session_id": "356dbb28-7f98-44d1-8e6d-0cec580f3171",
        "account_ids": ["BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp"],
        "client_user_id": "user-17",
        "new_holdings": 19,
        "error": None,
        "url": "https://app.example/public-hook/link-it",
    }
    assert redact(body) == body


def test_what_is_nested_too_deeply_is_redacted_and_the_rest_can_be_stored() -> None:
    deep: Any = TOKEN
    for _ in range(400):
        deep = [deep]
    stored = exact_json.dumps_for_storage(redact({"deep": deep, "id": "1"}), ascii_only=True)
    assert b'"id":"1"' in stored
    assert b"access-" not in stored


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert redact({"a\ud800": ["b\udfff"]}) == {"a?": ["b?"]}


def test_of_a_body_that_is_too_large_the_smallest_members_are_kept() -> None:
    small = {"webhook_code": "NEW", "item_id": "item"}
    body = small | {"large": "x" * MAX_BODY_BYTES, "larger": ["x" * 10] * MAX_BODY_BYTES}
    assert fit(body) == (small, ["large", "larger"])
    assert fit(small) == (small, [])


def test_a_long_text_is_searched_in_linear_time() -> None:
    began = time.process_time()
    for text in ("a-" * 300_000, "access" * 800_000, "a_" * 2_500_000, "sandbox-" * 80_000):
        redact({"text": text})
    assert time.process_time() - began < 5


TEXT = st.text(max_size=20) | st.sampled_from([TOKEN, f"x {TOKEN}", "token", "secret"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_no_token_is_left_in_any_body(body: dict[str, Any]) -> None:
    redacted = redact(body)
    assert TOKEN not in exact_json.dumps(redacted)
    assert redact(redacted) == redacted
