"""The parts of a request to the Items API: pages and query parameters."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain.errors import CallBudgetError, InvalidRequestError
from plaid_sync.domain.requests import erase_requested, reject_unknown
from plaid_sync.items_api.http import context_of, error_response, format_page_token, int_parameter, parse_page_token

from tests.fakes.clock import PLENTY

KEYS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200)


@given(KEYS, KEYS)
def test_a_page_token_leads_back_to_its_key(item_id: str, entry_id: str) -> None:
    key = {"item_id": item_id, "entry_id": entry_id}
    token = format_page_token(key)
    assert token is not None
    assert token.isascii()
    assert parse_page_token({"next": token}, ("entry_id", "item_id")) == key
    assert (format_page_token(None), parse_page_token({}, ("item_id",))) == (None, None)


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@given(st.text())
def test_any_other_page_token_is_rejected_by_name(value: str) -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        parse_page_token({"next": value}, ("item_id",))
    assert rejected.value.field == "next"


@pytest.mark.parametrize(
    "value",
    [
        encoded({}),
        encoded({"item_id": ""}),
        encoded({"item_id": 1}),
        encoded({"item_id": "\ud800"}),
        encoded({"item_id": "a", "more": "b"}),
        encoded(["item_id"]),
        encoded({"item_id": "a" * 3000}),
        "\u00e9",
        "====",
    ],
)
def test_a_key_of_another_form_is_rejected(value: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_page_token({"next": value}, ("item_id",))


@pytest.mark.parametrize("value", ["0", "-1", "101", "1.0", "", " 1", "1e1", "\u0661", "9" * 10_000, "100,1"])
def test_a_limit_is_an_integer_in_its_range(value: str) -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        int_parameter({"limit": value}, "limit", 50, 1, 100)
    assert rejected.value.field == "limit"
    assert (
        int_parameter({}, "limit", 50, 1, 100),
        int_parameter({"limit": "1"}, "limit", 50, 1, 100),
        int_parameter({"limit": "100"}, "limit", 50, 1, 100),
    ) == (
        50,
        1,
        100,
    )


def test_rows_are_kept_unless_erasure_is_requested() -> None:
    assert [
        erase_requested({}),
        erase_requested({"transactions": "keep"}),
        erase_requested({"transactions": "erase"}),
    ] == [False, False, True]
    for value in ("", "Erase", "keep,erase"):
        with pytest.raises(InvalidRequestError):
            erase_requested({"transactions": value})


def test_the_name_of_an_unknown_field_is_shown_cut_and_in_ascii() -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        reject_unknown({"\u00e9\ud800" * 1000: 1}, (), "field")
    assert rejected.value.field.isascii()
    assert len(rejected.value.field) < 1000


def test_the_webhook_url_is_the_configured_one_or_that_of_the_requests_host() -> None:
    event = {"requestContext": {"domainName": "example.execute-api.us-east-1.amazonaws.com"}}
    assert context_of(event, "https://own.invalid/hook", PLENTY).webhook_url == "https://own.invalid/hook"
    host = "https://example.execute-api.us-east-1.amazonaws.com/webhooks/plaid"
    assert context_of(event, "", PLENTY).webhook_url == host


def test_a_call_that_the_budget_refuses_is_to_be_repeated_as_retry_after_says() -> None:
    response = error_response(CallBudgetError("/transactions/refresh", 3.2, waits=True))
    assert (response["statusCode"], response["headers"]["retry-after"]) == (429, "4")
    problem = json.loads(response["body"])
    assert (problem["code"], problem["fix"]) == ("call_budget", "wait as long as Retry-After says")
