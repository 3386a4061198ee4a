from __future__ import annotations

import pytest
from plaid_sync.core.items import ItemId
from plaid_sync.core.linking import ExchangedItem, InvalidRequestError, LinkRequest, parse_link_request


def test_a_link_asks_for_all_of_the_history_unless_told_otherwise() -> None:
    assert parse_link_request({"public_token": "public-sandbox-1"}).days_requested == 730
    assert parse_link_request({"public_token": "public-sandbox-1", "days_requested": 30}).days_requested == 30


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "body"),
        ([], "body"),
        ({}, "public_token"),
        ({"public_token": 7}, "public_token"),
        ({"public_token": "access-sandbox-1"}, "public_token"),
        ({"public_token": "public-1", "days_requested": 0}, "days_requested"),
        ({"public_token": "public-1", "days_requested": 731}, "days_requested"),
        ({"public_token": "public-1", "days_requested": True}, "days_requested"),
        ({"public_token": "public-1", "days_requested": "90"}, "days_requested"),
        ({"public_token": "public-1", "day_requested": 90}, "day_requested"),
    ],
)
def test_a_bad_request_is_refused_by_field_and_with_the_fix(body: object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_link_request(body)
    assert refused.value.field == field
    assert refused.value.fix


def test_tokens_do_not_show_in_representations() -> None:
    assert "public-1" not in repr(LinkRequest("public-1"))
    assert "access-1" not in repr(ExchangedItem(ItemId("item"), "access-1"))
