"""The parts of a request to the Items API."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.core.items_api.requests import (
    InvalidRequestError,
    erases,
    limit,
    next_token,
    parse_next,
    refuse_unknown,
)
from plaid_sync.core.linking.link_requests import parse_link_request, parse_link_token_request

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200)


@given(KEYS, KEYS)
def test_a_next_leads_back_to_its_key(one: str, other: str) -> None:
    key = {"item_id": one, "entry_id": other}
    token = next_token(key)
    assert token is not None
    assert token.isascii()
    assert parse_next({"next": token}, ("entry_id", "item_id")) == key


def test_without_a_next_a_list_begins_at_its_beginning() -> None:
    assert next_token(None) is None
    assert parse_next({}, ("item_id",)) is None


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@given(st.text())
def test_whatever_else_comes_as_next_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_next({"next": value}, ("item_id",))
    assert refused.value.field == "next"


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
def test_a_key_of_another_form_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_next({"next": value}, ("item_id",))


@pytest.mark.parametrize("value", ["0", "-1", "101", "1.0", "", " 1", "1e1", "\u0661", "9" * 10_000, "100,1"])
def test_a_limit_is_a_whole_number_in_its_range(value: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        limit({"limit": value}, 50, 100)
    assert refused.value.field == "limit"
    assert (limit({}, 50, 100), limit({"limit": "1"}, 50, 100), limit({"limit": "100"}, 50, 100)) == (50, 1, 100)


def test_rows_are_kept_unless_they_are_to_be_erased() -> None:
    assert [erases({}), erases({"transactions": "keep"}), erases({"transactions": "erase"})] == [False, False, True]
    for value in ("", "Erase", "keep,erase"):
        with pytest.raises(InvalidRequestError):
            erases({"transactions": value})


def test_the_name_of_what_is_unknown_is_shown_in_part_and_in_ascii() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        refuse_unknown({"\u00e9\ud800" * 1000: 1}, (), "field")
    assert refused.value.field.isascii()
    assert len(refused.value.field) < 1000


LINK = {"link_token": "link-1", "client_user_id": "user"}


@pytest.mark.parametrize(
    ("body", "query", "field"),
    [
        (LINK, {"replace": ""}, "replace"),
        (LINK, {"replace": "no id"}, "replace"),
        (LINK, {"transactions": "erase"}, "transactions"),
        (LINK, {"replace": "item", "transactions": "burn"}, "transactions"),
        (LINK, {"days_requested": "10"}, "days_requested"),
        ({"public_token": "public-1"}, {"replace": "item"}, "replace"),
    ],
)
def test_a_bad_query_of_a_link_is_refused_by_name(body: dict[str, str], query: Mapping[str, str], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_link_request(body, query)
    assert refused.value.field == field


def test_a_link_can_replace_an_item() -> None:
    request = parse_link_request(LINK, {"replace": "item", "transactions": "erase"})
    assert (request.replace, request.erase, request.public_token) == ("item", True, None)


@pytest.mark.parametrize(
    "uri",
    [
        "https://",
        "https:///path",
        "https://a b/",
        "https://[/",
        "https://app.example.com/#x",
        "https://app.example.com/?",
        "ftp://app.example.com",
        "https://\u00e9.example.com",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_uri_is_https_without_a_query(uri: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_link_token_request({"client_user_id": "user", "redirect_uri": uri})
    assert refused.value.field == "redirect_uri"
