"""The fields of the requests to link an Item and to create a link token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.item import ItemId
from plaid_sync.linking.requests import LinkRequest, parse_link_request, parse_link_token_request
from plaid_sync.linking.sessions import ExchangedItem, LinkToken

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION = {"link_token": "link-sandbox-1", "client_user_id": "user"}
USER = {"client_user_id": "u"}


def test_the_whole_history_is_requested_by_default() -> None:
    assert parse_link_token_request({"client_user_id": "user"}).days_requested == 730
    assert parse_link_token_request({"client_user_id": "user", "days_requested": 30}).days_requested == 30
    assert parse_link_request({"public_token": "public-sandbox-1"}).days_requested is None
    assert parse_link_request({"public_token": "public-sandbox-1", "days_requested": 30}).days_requested == 30


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "body"),
        ([], "body"),
        ({}, "public_token"),
        ({"public_token": 7}, "public_token"),
        ({"public_token": None}, "public_token"),
        ({"public_token": "access-sandbox-1"}, "public_token"),
        ({"public_token": "public-\u00e9"}, "public_token"),
        ({"public_token": "public-1", "days_requested": 0}, "days_requested"),
        ({"public_token": "public-1", "days_requested": 731}, "days_requested"),
        ({"public_token": "public-1", "days_requested": True}, "days_requested"),
        ({"public_token": "public-1", "days_requested": "90"}, "days_requested"),
        ({"public_token": "public-1", "day_requested": 90}, "day_requested"),
        ({"public_token": "public-1", "client_user_id": "user"}, "client_user_id"),
        ({"link_token": "link-sandbox-1"}, "client_user_id"),
        (SESSION | {"client_user_id": "\ud800"}, "client_user_id"),
        (SESSION | {"link_token": "public-1"}, "link_token"),
    ],
    ids=ascii,
)
def test_a_bad_request_to_link_names_field_and_fix(body: object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        parse_link_request(body)
    assert rejected.value.field == field
    assert rejected.value.fix


@pytest.mark.parametrize(
    ("body", "query", "field"),
    [
        (SESSION, {"replace": ""}, "replace"),
        (SESSION, {"replace": "no id"}, "replace"),
        (SESSION, {"transactions": "erase"}, "transactions"),
        (SESSION, {"replace": "item", "transactions": "burn"}, "transactions"),
        (SESSION, {"days_requested": "10"}, "days_requested"),
        ({"public_token": "public-1"}, {"replace": "item"}, "replace"),
    ],
)
def test_a_bad_query_of_a_link_is_rejected_by_name(body: dict[str, str], query: Mapping[str, str], field: str) -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        parse_link_request(body, query)
    assert rejected.value.field == field


def test_a_link_can_replace_an_item() -> None:
    request = parse_link_request(SESSION, {"replace": "item", "transactions": "erase"})
    assert (request.replace, request.erase, request.public_token) == ("item", True, None)


BAD_TOKEN_REQUESTS: list[tuple[object, str]] = [
    (None, "body"),
    ([], "body"),
    ({}, "client_user_id"),
    *(({"client_user_id": value}, "client_user_id") for value in ("", "u" * 129, "a\nb", None)),
    *((USER | {"products": value}, "products") for value in ([], ["transactions"] * 2, [["transactions"]])),
    (USER | {"country_codes": ["XX"]}, "country_codes"),
    (USER | {"language": "tlh"}, "language"),
    *((USER | {"days_requested": value}, "days_requested") for value in (731, 1.0)),
    *(({**USER, "hosted_link": value}, "hosted_link") for value in ("yes", True, None, {"more": 1})),
    (USER | {"hosted_link": {"delivery_method": "fax"}}, "hosted_link.delivery_method"),
    (USER | {"hosted_link": {"url_lifetime_seconds": 0}}, "hosted_link.url_lifetime_seconds"),
    (USER | {"user": {"client_user_id": "another"}}, "user"),
    (USER | {"user": {"name": {"given_name": 7}}}, "user.name.given_name"),
    (USER | {"user": {}, "user_id": "usr_1"}, "user"),
    (
        USER | {"account_filters": {"depository": {"account_subtypes": []}}},
        "account_filters.depository.account_subtypes",
    ),
    (
        USER | {"account_filters": {"depository": {"account_subtypes": [7]}}},
        "account_filters.depository.account_subtypes",
    ),
    (USER | {"account_filters": {"cash": {}}}, "account_filters"),
    (USER | {"products": ["auth"], "optional_products": ["auth"]}, "optional_products"),
    (USER | {"required_if_supported_products": ["transactions"]}, "products"),
    (USER | {"products": ["identity_verification"]}, "products"),
    (USER | {"transactions": {"days_requested": 731}}, "transactions.days_requested"),
    (USER | {"transactions": {"days_requested": 7}, "days_requested": 7}, "days_requested"),
    (USER | {"update": {"account_selection_enabled": True}}, "update"),
    (USER | {"android_package_name": "a.b", "redirect_uri": "https://app.example.com"}, "redirect_uri"),
    (USER | {"access_token": "access-1"}, "access_token"),
    (USER | {"enable_multi_item_link": "yes"}, "enable_multi_item_link"),
    ({"item_id": "i", "optional_products": ["auth"]}, "optional_products"),
    ({"item_id": "i", "transactions": {"days_requested": 7}}, "transactions"),
    ({"item_id": "i", "enable_multi_item_link": True}, "enable_multi_item_link"),
    (USER | {"account_selection": True}, "account_selection"),
    (USER | {"client_name": "n" * 31}, "client_name"),
    (USER | {"webhook": "https://evil.example.com"}, "webhook"),
    ({"item_id": "no id"}, "item_id"),
    ({"item_id": "i", "products": ["transactions"]}, "products"),
    ({"item_id": "i", "days_requested": 10}, "days_requested"),
    *(
        (USER | {"redirect_uri": uri}, "redirect_uri")
        for uri in (
            "https://",
            "https:///path",
            "https://a b/",
            "https://[/",
            "https://app.example.com/#x",
            "https://app.example.com/?",
            "https://app.example.com/?a=1",
            "http://app.example.com",
            "ftp://app.example.com",
            "https://\u00e9.example.com",
            "javascript:alert(1)",
        )
    ),
]


@pytest.mark.parametrize(("body", "field"), BAD_TOKEN_REQUESTS, ids=ascii)
def test_a_bad_request_for_a_link_token_names_field_and_fix(body: object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as rejected:
        parse_link_token_request(body)
    assert rejected.value.field == field
    assert rejected.value.fix


def test_http_is_for_the_sandbox_only() -> None:
    body = USER | {"redirect_uri": "http://localhost:3000/link"}
    assert parse_link_token_request(body, sandbox=True).fields["redirect_uri"] == body["redirect_uri"]
    with pytest.raises(InvalidRequestError):
        parse_link_token_request(body)


@pytest.mark.parametrize(
    ("lists", "added"),
    [
        ({"products": ["auth"]}, {"additional_consented_products": ["transactions"]}),
        (
            {"products": ["auth"], "additional_consented_products": ["identity"]},
            {"additional_consented_products": ["identity", "transactions"]},
        ),
        ({"products": ["auth"], "optional_products": ["transactions"]}, {}),
        ({"products": ["auth"], "required_if_supported_products": ["transactions"]}, {}),
        ({"products": ["transactions", "auth"]}, {}),
        ({"optional_products": ["auth"]}, {"products": ["transactions"]}),
    ],
)
def test_transactions_is_always_requested_or_consented(
    lists: dict[str, list[str]], added: dict[str, list[str]]
) -> None:
    fields = parse_link_token_request(USER | lists).fields
    assert {name: value for name, value in fields.items() if name.endswith("products")} == lists | added


def test_update_mode_can_add_products_and_consent() -> None:
    """Also where the user never gave consent to Transactions."""
    consented = parse_link_token_request({"item_id": "i", "additional_consented_products": ["transactions"]})
    assert consented.fields["additional_consented_products"] == ["transactions"]
    assert "products" not in consented.fields
    assert parse_link_token_request({"item_id": "i", "products": ["statements"]}).fields["products"] == ["statements"]


def test_personal_data_is_not_in_representations() -> None:
    assert "Ada" not in repr(parse_link_token_request(USER | {"user": {"legal_name": "Ada"}}))


def test_tokens_are_not_in_representations() -> None:
    assert "public-1" not in repr(LinkRequest("public-1"))
    assert "link-1" not in repr(LinkRequest("public-1", link_token="link-1"))
    assert "access-1" not in repr(ExchangedItem(ItemId("item"), "access-1"))
    assert "link-1" not in repr(LinkToken("link-1"))
