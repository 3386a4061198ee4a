from __future__ import annotations

import pytest
from plaid_sync.core.items import ItemId
from plaid_sync.core.items_api.requests import InvalidRequestError
from plaid_sync.core.linking.link_requests import LinkRequest, link_id_of, parse_link_request, parse_link_token_request
from plaid_sync.core.linking.plaid_answers import ExchangedItem, LinkToken

SESSION = {"link_token": "link-sandbox-1", "client_user_id": "user"}


def test_a_link_asks_for_all_of_the_history_unless_told_otherwise() -> None:
    assert parse_link_token_request({"client_user_id": "user"}).days_requested == 730
    assert parse_link_token_request({"client_user_id": "user", "days_requested": 30}).days_requested == 30
    assert parse_link_request({"public_token": "public-sandbox-1"}).days_requested is None
    assert parse_link_request({"public_token": "public-sandbox-1", "days_requested": 30}).days_requested == 30


def test_different_public_tokens_are_different_links() -> None:
    assert link_id_of("public-sandbox-1") == link_id_of("public-sandbox-1") != link_id_of("public-sandbox-2")


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
def test_a_bad_request_is_refused_by_field_and_with_the_fix(body: object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_link_request(body)
    assert refused.value.field == field
    assert refused.value.fix


def test_tokens_do_not_show_in_representations() -> None:
    assert "public-1" not in repr(LinkRequest("public-1"))
    assert "link-1" not in repr(LinkRequest("public-1", link_token="link-1"))
    assert "access-1" not in repr(ExchangedItem(ItemId("item"), "access-1"))
    assert "link-1" not in repr(LinkToken("link-1"))
